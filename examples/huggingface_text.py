"""The Hugging Face Trainer with AutoWU: a small Llama learns the Python reference, byte by byte.

Usage::

    python examples/huggingface_text.py                            under a minute on two cores
    python examples/huggingface_text.py --resume                   goes on after an interruption
    torchrun --nproc-per-node 2 examples/huggingface_text.py       the same in two processes
"""

# First: beside a torchvision that was built for another torch, transformers can be imported only after it.
from autowu.integrations.huggingface import AutoWUTrainer  # isort: split

import argparse
from pathlib import Path
from pydoc_data.topics import topics  # 450 kB of English, part of every Python

import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments, set_seed

LENGTH = 64  # bytes of context


def passages() -> list[dict[str, torch.Tensor]]:
    """The text in pieces; the model itself shifts the labels by one."""
    text = torch.tensor(list("\n".join(topics.values()).encode()))
    pieces = text[: len(text) // LENGTH * LENGTH].view(-1, LENGTH)
    return [{"input_ids": piece, "labels": piece} for piece in pieces]


def main() -> None:
    """Train, evaluate, and say how warm-up ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/huggingface"), help="folder of checkpoints")
    parser.add_argument("--steps", type=int, default=400, help="optimizer updates of the whole run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args()

    set_seed(0)
    data = passages()
    size = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=256, max_position_embeddings=LENGTH, **size))
    args = TrainingArguments(
        output_dir=str(options.out),
        max_steps=options.steps,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        save_steps=50,
        save_total_limit=3,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = AutoWUTrainer(
        model=model,
        args=args,
        train_dataset=data[: -len(data) // 10],
        eval_dataset=data[-len(data) // 10 :],
        autowu={"seed": 0},
    )
    trainer.train(resume_from_checkpoint=options.resume)

    loss, switch = trainer.evaluate()["eval_loss"], trainer.lr_scheduler.switch
    if trainer.is_world_process_zero():
        print(
            f"warm-up ended at update {switch.step} of {options.steps}; its peak LR is {switch.peak_lr:.2g}"
        )
        print(f"loss on unseen text: {loss:.2f} nats a byte")


if __name__ == "__main__":
    main()
