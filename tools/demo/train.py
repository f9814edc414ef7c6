# Copyright 2026 The minisgl Authors. Licensed under the Apache License, Version 2.0.
"""Train the demo model on one GPU and write it as a Hugging Face folder.

    python train.py --out out/demo

The corpus is generated here (see corpus.py), the tokenizer is trained on its beginning, the documents are packed into windows (attention
stays inside a document; in chats only the assistant's words are learned), and Qwen2ForCausalLM is trained on them.
"""
import argparse
import json
import math
import os
import time
from multiprocessing import Pool

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import numpy as np

import corpus
import tokenizer as tok
from chats import DEFAULT_SYSTEM

_t = None


def _start(path):
    from tokenizers import Tokenizer

    global _t
    _t = Tokenizer.from_file(path)


def _encode(job):
    """One shard as (tokens, what is learned, lengths of the documents)."""
    docs = corpus.shard(job)
    eot, start, end = (_t.token_to_id(s) for s in tok.SPECIAL)
    assistant = _t.encode("assistant\n").ids
    ids, learn, lengths = [], [], []
    for e in _t.encode_batch([d + "<|endoftext|>" for d in docs]):
        x = e.ids
        if x[0] == start:
            keep = [False] * len(x)
            i = 0
            while i < len(x):
                if x[i] == start and x[i + 1 : i + 1 + len(assistant)] == assistant:
                    i += 1 + len(assistant)
                    while x[i] != end:
                        keep[i] = True
                        i += 1
                    keep[i] = True
                i += 1
        else:
            keep = [True] * len(x)
        ids.extend(x)
        learn.extend(keep)
        lengths.append(len(x))
    return np.array(ids, np.uint16), np.array(learn, bool), np.array(lengths, np.int32)


def pack(parts, seq_len, seed, pad):
    """Windows of seq_len tokens, each beginning with a document: (tokens, learn, document numbers)."""
    starts, base = [], 0
    for ids, _, lengths in parts:
        ends = np.cumsum(lengths)
        starts.append(np.stack([base + ends - lengths, lengths], 1))
        base += len(ids)
    tokens = np.concatenate([p[0] for p in parts])
    learn = np.concatenate([p[1] for p in parts])
    docs = np.concatenate(starts)
    docs = docs[docs[:, 1] <= seq_len]
    np.random.default_rng(seed).shuffle(docs)
    # First fit among the windows that are still open.
    windows, opened = [], []
    for begin, n in docs.tolist():
        for w in opened:
            if w[0] + n <= seq_len:
                break
        else:
            w = [0, []]
            opened.append(w)
        w[0] += n
        w[1].append((begin, n))
        if w[0] > seq_len - 40 or len(opened) > 48:
            full = w if w[0] > seq_len - 40 else opened[0]
            opened.remove(full)
            windows.append(full[1])
    np.random.default_rng(seed).shuffle(windows)
    shape = (len(windows), seq_len)
    w_tok, w_learn, w_doc = np.full(shape, pad, np.uint16), np.zeros(shape, bool), np.zeros(shape, np.uint8)
    for i, win in enumerate(windows):
        at = 0
        for k, (begin, n) in enumerate(win):
            w_tok[i, at : at + n] = tokens[begin : begin + n]
            w_learn[i, at : at + n] = learn[begin : begin + n]
            w_doc[i, at : at + n] = k + 1
            at += n
    # The first token of a document is never learned.
    w_learn[:, 0] = False
    w_learn[:, 1:] &= w_doc[:, 1:] == w_doc[:, :-1]
    return w_tok, w_learn, w_doc


def make_tokenizer(a):
    """The tokenizer, trained on the first 24 shards."""
    with Pool(a.processes) as pool:
        sample = pool.map(corpus.shard, [(f"{a.seed}/{i}", min(24, a.megabytes) * 1_000_000 // 24, 0.0) for i in range(24)])
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tk = tok.train((tok.clean(d) for docs in sample for d in docs), a.vocab)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return tk


def build_data(a, path, megabytes, seed, shards, topics=0.0):
    jobs = [(f"{seed}/{i}", int(megabytes * 1_000_000) // shards, topics) for i in range(shards)]
    with Pool(a.processes, _start, (path,)) as pool:
        parts = pool.map(_encode, jobs, chunksize=1)
    eot = json.load(open(path, encoding="utf-8"))["added_tokens"][0]["id"]
    return pack(parts, a.seq_len, a.seed, eot)


def write_folder(model, tokenizer, out, a):
    """An ordinary Hugging Face folder with bf16 weights."""
    import copy

    import torch

    os.makedirs(out, exist_ok=True)
    m = copy.deepcopy(model).to(torch.bfloat16).cpu()
    m.save_pretrained(out)
    ids = {s: tokenizer.token_to_id(s) for s in tok.SPECIAL}
    c = model.config
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": c.hidden_size,
        "initializer_range": c.initializer_range,
        "intermediate_size": c.intermediate_size,
        "max_position_embeddings": c.max_position_embeddings,
        "max_window_layers": c.num_hidden_layers,
        "model_type": "qwen2",
        "num_attention_heads": c.num_attention_heads,
        "num_hidden_layers": c.num_hidden_layers,
        "num_key_value_heads": c.num_key_value_heads,
        "rms_norm_eps": c.rms_norm_eps,
        "rope_theta": a.rope_theta,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": c.vocab_size,
    }
    generation = {
        "do_sample": True,
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
        "temperature": 0.7,
        "top_k": 40,
        "top_p": 0.9,
    }
    for name, value in (("config.json", config), ("generation_config.json", generation), ("tokenizer_config.json", tok.config(DEFAULT_SYSTEM))):
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            json.dump(value, f, indent=2, ensure_ascii=False)
            f.write("\n")
    tok.save(tokenizer, os.path.join(out, "tokenizer.json"))
    for name in os.listdir(out):
        os.chmod(os.path.join(out, name), 0o644)


def plot(curve, held, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(8, 4.5), dpi=100)
    ax.plot([c["tokens"] / 1e6 for c in curve], [c["loss"] for c in curve], label="training", linewidth=1)
    ax.plot([c["tokens"] / 1e6 for c in held], [c["loss"] for c in held], "o-", label="held out", markersize=3, linewidth=1)
    ax.set_yscale("log")
    ax.set_xlabel("million tokens")
    ax.set_ylabel("loss (nats a token)")
    ax.legend()
    ax.grid(True, which="both", alpha=0.3)
    fig.tight_layout()
    fig.savefig(path)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", default="out/demo", help="the model's folder")
    p.add_argument("--report", default="out", help="where the loss curve goes")
    p.add_argument("--megabytes", type=int, default=400, help="size of the generated corpus")
    p.add_argument("--topics", type=float, default=0.0, help="share of chats about a theme in the corpus (see corpus.py)")
    p.add_argument("--held-megabytes", type=float, default=2, help="size of the held-out text")
    p.add_argument("--shards", type=int, default=128)
    p.add_argument("--processes", type=int, default=os.cpu_count())
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vocab", type=int, default=2816)
    p.add_argument("--hidden", type=int, default=256)
    p.add_argument("--layers", type=int, default=6)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--kv-heads", type=int, default=2)
    p.add_argument("--intermediate", type=int, default=512)
    p.add_argument("--rope-theta", type=float, default=10000.0)
    p.add_argument("--seq-len", type=int, default=2048)
    p.add_argument("--batch", type=int, default=32, help="windows a step")
    p.add_argument("--steps", type=int, default=18000)
    p.add_argument("--max-seconds", type=float, default=840, help="stop the steps after this time, whatever the schedule says")
    p.add_argument("--lr", type=float, default=2.5e-3)
    p.add_argument("--warmup", type=int, default=500)
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--log-every", type=int, default=100)
    p.add_argument("--eval-every", type=int, default=1000)
    p.add_argument("--attention", default="flex_attention", choices=["flex_attention", "sdpa"])
    p.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    a = p.parse_args()
    began = time.time()

    # The tokenizer is trained before torch is loaded, and so before any process forks with it.
    os.makedirs(a.report, exist_ok=True)
    path = os.path.join(a.report, "tokenizer.json")
    tk = make_tokenizer(a)
    tok.save(tk, path)
    print(f"tokenizer: {tk.get_vocab_size()} tokens, {time.time() - began:.0f} s", flush=True)
    data = build_data(a, path, a.megabytes, a.seed, a.shards, a.topics)
    held = build_data(a, path, a.held_megabytes, "heldout", 8)
    tokens_total = int((data[2] > 0).sum())
    print(f"data: {tokens_total / 1e6:.1f} M tokens in {len(data[0])} windows, held out {len(held[0])} windows, "
          f"full {tokens_total / data[2].size:.3f}, {time.time() - began:.0f} s", flush=True)

    import torch
    import torch.nn.functional as F
    from torch.nn.attention.flex_attention import create_block_mask
    from transformers import Qwen2Config, Qwen2ForCausalLM

    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    torch.manual_seed(a.seed)
    torch.set_float32_matmul_precision("high")
    config = Qwen2Config(
        vocab_size=a.vocab, hidden_size=a.hidden, intermediate_size=a.intermediate, num_hidden_layers=a.layers,
        num_attention_heads=a.heads, num_key_value_heads=a.kv_heads, max_position_embeddings=a.seq_len, max_window_layers=a.layers,
        rope_parameters={"rope_type": "default", "rope_theta": a.rope_theta}, rms_norm_eps=1e-6, tie_word_embeddings=True, use_cache=False,
        bos_token_id=None, eos_token_id=tk.token_to_id("<|im_end|>"), attn_implementation=a.attention)
    model = Qwen2ForCausalLM(config).to(device)
    count = sum(x.numel() for x in model.parameters())
    card = torch.cuda.get_device_name(0) if cuda else "cpu"
    print(f"model: {count / 1e6:.2f} M parameters on {card}", flush=True)

    def on_device(d):
        return [torch.from_numpy(d[0].astype(np.int16)).to(device), torch.from_numpy(d[1]).to(device), torch.from_numpy(d[2]).to(device)]

    data, held = on_device(data), on_device(held)
    make_mask = torch.compile(create_block_mask) if cuda else create_block_mask

    def mask_of(doc):
        n = doc.shape[1]
        if a.attention == "sdpa":
            same = doc[:, :, None] == doc[:, None, :]
            return (same & torch.ones(n, n, dtype=torch.bool, device=device).tril())[:, None]

        def inside(b, h, q, k):
            return (q >= k) & (doc[b, q] == doc[b, k])

        return make_mask(inside, doc.shape[0], None, n, n, device=device)

    def loss_sum(x, learn, mask):
        """The sum of the losses of the learned tokens."""
        with torch.autocast(device, dtype=torch.bfloat16, enabled=cuda):
            h = model.model(input_ids=x, attention_mask={"full_attention": mask}).last_hidden_state
            logits = F.linear(h[:, :-1], model.lm_head.weight)
        labels = torch.where(learn[:, 1:], x[:, 1:], -100)
        return F.cross_entropy(logits.float().reshape(-1, a.vocab), labels.reshape(-1), ignore_index=-100, reduction="sum")

    step_loss = torch.compile(loss_sum) if a.compile else loss_sum

    def batch_of(d, index):
        x, learn, doc = d[0][index].long(), d[1][index], d[2][index].int()
        return x, learn, mask_of(doc)

    def evaluate():
        model.eval()
        total, n = 0.0, 0
        with torch.no_grad():
            for i in range(0, len(held[0]) - a.batch + 1, a.batch):
                index = torch.arange(i, i + a.batch, device=device)
                x, learn, mask = batch_of(held, index)
                total += step_loss(x, learn, mask).item()
                n += int(learn.sum())
        model.train()
        return total / n

    decay = [x for x in model.parameters() if x.dim() >= 2]
    plain = [x for x in model.parameters() if x.dim() < 2]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": a.weight_decay}, {"params": plain, "weight_decay": 0.0}],
                            lr=a.lr, betas=(0.9, 0.98), eps=1e-8, fused=cuda)

    def rate(step):
        if step < a.warmup:
            return (step + 1) / a.warmup
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - a.warmup) / max(1, a.steps - a.warmup)))

    order = np.random.default_rng(a.seed)
    queue = np.empty(0, np.int64)
    curve, held_curve = [], []
    model.train()
    seen, window_loss, train_began, last = 0, [], time.time(), time.time()
    for step in range(a.steps):
        if len(queue) < a.batch:
            queue = np.concatenate([queue, order.permutation(len(data[0]))])
        index, queue = torch.from_numpy(queue[: a.batch]).to(device), queue[a.batch :]
        for group in opt.param_groups:
            group["lr"] = a.lr * rate(step)
        x, learn, mask = batch_of(data, index)
        loss = step_loss(x, learn, mask) / learn.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        seen += x.numel()
        window_loss.append(loss.detach())
        if step % a.log_every == a.log_every - 1 or step == 0:
            mean = torch.stack(window_loss).mean().item()
            window_loss = []
            now = time.time()
            curve.append({"step": step + 1, "tokens": seen, "loss": round(mean, 5)})
            speed = (a.log_every if step else 1) * x.numel() / (now - last) / 1e6
            print(f"step {step + 1} loss {mean:.4f} lr {a.lr * rate(step):.2e} {speed:.2f} M tokens/s {now - train_began:.0f} s", flush=True)
            last = now
        if step % a.eval_every == a.eval_every - 1 or step == a.steps - 1:
            v = evaluate()
            held_curve.append({"step": step + 1, "tokens": seen, "loss": round(v, 5)})
            print(f"    held out {v:.4f}", flush=True)
            if step % 6000 == 5999:
                write_folder(model, tk, a.out, a)
            last = time.time()
        if time.time() - train_began > a.max_seconds:
            print(f"stopped after {step + 1} steps: out of time", flush=True)
            break
    if cuda:
        torch.cuda.synchronize()
    trained = time.time() - train_began
    write_folder(model, tk, a.out, a)
    # The loss of the weights as they are written, rounded to bf16.
    with torch.no_grad():
        for x in model.parameters():
            x.copy_(x.to(torch.bfloat16).float())
    final = evaluate()
    report = {"card": card, "parameters": count, "corpus_megabytes": a.megabytes, "corpus_tokens": tokens_total, "steps": step + 1, "tokens_seen": seen,
              "batch_tokens": a.batch * a.seq_len, "training_seconds": round(trained, 1), "total_seconds": round(time.time() - began, 1),
              "held_out_loss": round(held_curve[-1]["loss"], 5), "held_out_loss_bf16": round(final, 5), "args": {k: v for k, v in vars(a).items() if k not in ("out", "report", "processes")},
              "torch": torch.__version__, "curve": curve, "held_out": held_curve}
    with open(os.path.join(a.report, "loss.json"), "w", encoding="utf-8") as f:
        curves = {k: report.pop(k) for k in ("curve", "held_out")}
        f.write(json.dumps(report, indent=1)[:-2])
        for k, points in curves.items():
            f.write(f',\n "{k}": [\n  ' + ",\n  ".join(json.dumps(x) for x in points) + "\n ]")
        f.write("\n}\n")
    try:
        plot(curve, held_curve, os.path.join(a.report, "loss.png"))
    except ImportError:
        print("no matplotlib: no picture of the loss curve")
    print(f"done: held out {held_curve[-1]['loss']:.4f}, as written in bf16 {final:.4f}, trained {trained:.0f} s, in all {time.time() - began:.0f} s on {card}", flush=True)


if __name__ == "__main__":
    main()
