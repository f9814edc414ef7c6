#!/usr/bin/env python3
"""Writes the goldens of `minisgl eval` with Hugging Face transformers: token sequences, and at each position the likeliest next
tokens with their log-probabilities. The README beside this file describes the format.

    python write_goldens.py --model Qwen/Qwen2.5-0.5B-Instruct --texts texts.txt --greedy 64 --out goldens.json.gz
    python write_goldens.py --model ./tiny --random 4 --lengths 5:40 --greedy 8 --out goldens.json.gz

Needs torch and transformers; runs on the CPU.
"""

import argparse
import gzip
import json
import pathlib
import random

import torch
import transformers

FORMAT = "minisgl-eval-goldens/1"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="folder or name on the hub")
    p.add_argument("--revision", help="branch, tag or commit on the hub")
    p.add_argument("--out", required=True, type=pathlib.Path, help="FILE.json or FILE.json.gz")
    p.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="arithmetic (default %(default)s)")
    p.add_argument("--texts", type=pathlib.Path, help="texts to score, separated by lines that hold only ---")
    p.add_argument("--continued", type=pathlib.Path, metavar="JSON",
                   help="prompts with what follows them (prompts[].prompt_ids and .tokens); only the latter is scored")
    p.add_argument("--random", type=int, default=0, metavar="N", help="random token sequences to score")
    p.add_argument("--lengths", default="16:128", metavar="LOW:HIGH", help="of the random sequences (default %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of the random sequences")
    p.add_argument("--greedy", type=int, default=0, metavar="N", help="tokens to append to each sequence, always the likeliest")
    p.add_argument("--first", type=int, default=1, help="index of the first token that is scored (default %(default)s)")
    p.add_argument("--top", type=int, default=64, help="tokens to keep at each position, at most 128 (default %(default)s)")
    p.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE",
                   help="a limit for the file: max_regret, max_mean_error, max_p99_error, max_error")
    a = p.parse_args()
    if not a.texts and not a.continued and not a.random:
        p.error("nothing to score: give --texts, --continued or --random")
    if not 1 <= a.top <= 128 or a.first < 1:
        p.error("--top is in [1, 128] and --first at least 1")
    return a


def sequences(a, vocab):
    """The token sequences to score, before --greedy, and the index of the first token to score in each."""
    if a.texts:
        tokenizer = transformers.AutoTokenizer.from_pretrained(a.model, revision=a.revision)
        for text in a.texts.read_text(encoding="utf-8").split("\n---\n"):
            yield tokenizer(text)["input_ids"], a.first
    if a.continued:
        for p in json.loads(a.continued.read_text(encoding="utf-8"))["prompts"]:
            yield p["prompt_ids"] + p["tokens"], len(p["prompt_ids"])
    rng = random.Random(a.seed)
    low, high = map(int, a.lengths.split(":"))
    for _ in range(a.random):
        yield [rng.randrange(vocab) for _ in range(rng.randint(low, high))], a.first


@torch.inference_mode()
def continued(model, tokens, count):
    tokens = list(tokens)
    cache, fed = None, tokens
    for _ in range(count):
        out = model(torch.tensor([fed]), past_key_values=cache, use_cache=True)
        cache, fed = out.past_key_values, [int(out.logits[0, -1].argmax())]
        tokens += fed
    return tokens


@torch.inference_mode()
def score(model, tokens, first, top):
    logits = model(torch.tensor([tokens])).logits[0, first - 1 : -1]
    logprobs = torch.log_softmax(logits.double(), dim=-1)
    values, ids = logprobs.topk(min(top, logprobs.shape[-1]))
    own = logprobs.gather(1, torch.tensor(tokens[first:])[:, None])[:, 0]
    rounded = lambda row: [round(x, 7) for x in row]
    return {
        "tokens": tokens,
        "first": first,
        "logprobs": rounded(own.tolist()),
        "top_ids": ids.tolist(),
        "top_logprobs": [rounded(row) for row in values.tolist()],
    }


def main():
    a = arguments()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        a.model, revision=a.revision, dtype=getattr(torch, a.dtype), attn_implementation="eager").eval()
    scored = []
    for tokens, first in sequences(a, model.config.vocab_size):
        tokens = continued(model, tokens, a.greedy)
        if len(tokens) <= first:
            raise SystemExit(f"sequence {len(scored)} has {len(tokens)} tokens, --first {first} leaves none to score")
        scored.append(score(model, tokens, first, a.top))
        print(f"sequence {len(scored) - 1}: {len(tokens)} tokens", flush=True)
    content = {
        "format": FORMAT,
        "model": pathlib.Path(a.model).name,
        "dtype": a.dtype,
        "made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
        "limits": {name: float(value) for name, value in (item.split("=") for item in a.limit)},
        "sequences": scored,
    }
    text = (json.dumps(content, separators=(",", ":")) + "\n").encode()
    a.out.write_bytes(gzip.compress(text, mtime=0) if a.out.suffix == ".gz" else text)
    print(f"wrote {a.out}: {sum(len(s['logprobs']) for s in scored)} positions")


if __name__ == "__main__":
    main()
