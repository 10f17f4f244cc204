"""A small transformer by Hugging Face's Trainer, all of whose arguments are the command line's."""

import sys

import torch
from transformers import BertConfig, BertForTokenClassification, HfArgumentParser, Trainer, TrainingArguments, set_seed


class Tags(torch.utils.data.Dataset):
    """Words, and whether each is an even one."""

    def __init__(self, size):
        self.words = torch.randint(3, 60, (size, 12))

    def __len__(self):
        return len(self.words)

    def __getitem__(self, index):
        words = self.words[index]
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": words % 2}


def main():
    parser = HfArgumentParser(TrainingArguments)
    (args,) = parser.parse_args_into_dataclasses(sys.argv[1:])
    set_seed(args.seed)
    torch.set_num_threads(1)
    config = BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=2
    )
    train, rest = Tags(128), Tags(32)
    trainer = Trainer(BertForTokenClassification(config), args, train_dataset=train, eval_dataset=rest)
    result = trainer.train()
    trainer.save_model()
    trainer.save_metrics("train", result.metrics)
    trainer.save_metrics("eval", trainer.evaluate())
    trainer.save_state()
    print(f"process {args.process_index} of {args.world_size} is done", flush=True)


if __name__ == "__main__":
    main()
