"""The reference trainer behind ``autowu train``.

    settings ─▶ data, model, optimizer, schedule ─▶ loop ─▶ run folder and progress

Contents:
    options             what can be chosen on the command line, and its checks
    data                image data sets in memory, and the batches of an epoch
    models              small networks for small images
    optimizers          AdamP, LAMB, AdamW and SGD with the settings that they start from
    schedules           AutoWU and the baseline with one face: ``schedule.step(loss)``
    loop                sets up a run, and trains
    log                 the run folder: ``run.json`` and ``log.jsonl``
    progress            what is printed while a run goes on
    torchvision_shim    lets timm be imported where torchvision's compiled operators do not load

Importing this package imports no framework: PyTorch comes in when a run starts.
"""
