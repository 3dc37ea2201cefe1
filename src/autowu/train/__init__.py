"""The reference trainer behind ``autowu train``.

    flags, file, recipe ─▶ settings ─▶ engine ─▶ task, model, method ─▶ loop ─▶ log, checkpoints, progress

What one can choose:
    settings/           Settings, one checked field for each flag; a file, a recipe, a resumed run fill them
    data/               data sets, their batches, augmentation
    models/             small networks, ResNets, and timm's
    optimizers/         AdamP (adamp), LAMB, AdamW, SGD, Muon (muon)
    schedules/          AutoWU, the baseline, PyTorch's, and the peers, all with one face: ``Method``

How it runs:
    command             ``autowu train`` itself
    run/                the engine sets up a run in each process; the loop makes its updates, and ends them
    checkpoints/        from a run to a checkpoint and back; files that are whole or absent

What is seen of it:
    output/             ``run.json`` and ``log.jsonl``, lines or a live display, TensorBoard, W&B, MLflow
    dry_run/            what would run, and the memory that it would take
    torchvision_shim    another name of that of integrations

Importing this package imports no framework: PyTorch comes in when a run starts.
"""
