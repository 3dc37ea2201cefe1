"""The reference trainer behind ``autowu train``.

    flags, file, recipe ─▶ settings ─▶ engine ─▶ task, model, method ─▶ loop ─▶ log, checkpoints, progress

What one can choose:
    options             Settings: one field for each flag, checked
    arguments, sources  the flags; a file of settings, a recipe, the settings of a resumed run
    recipes             settings under one name; recipes_table shows them
    data/               data sets, their batches, augmentation
    models/             small networks, ResNets, and timm's
    optimizers          AdamP (adamp), LAMB, AdamW, SGD, Muon (muon)
    schedules/          AutoWU, the baseline, PyTorch's, and the peers, all with one face: ``Method``

How it runs:
    command             ``autowu train`` itself
    engine              sets up a run in each of its processes
    run                 everything that belongs to a run, and how far it is
    loop                updates, evaluations, checkpoints
    processes           devices, DDP and FSDP, through lightning-fabric
    randomness          random numbers as a function of what they are for
    signals             SIGTERM and Ctrl-C, at the same update in all processes
    saving, shards      from a run to a checkpoint and back; a process's part of a sharded model
    checkpoint          files that are whole or absent

What is seen of it:
    events, log         what happens; ``run.json`` and ``log.jsonl``
    evaluation          what an evaluation says
    progress/           lines, and on a terminal a live display
    loggers/            TensorBoard, W&B, MLflow
    dry_run, memory     what would run, and the memory that it would take
    torchvision_shim    another name of that of integrations

Importing this package imports no framework: PyTorch comes in when a run starts.
"""
