# Copyright 2026 The minisgl Authors. Licensed under the Apache License, Version 2.0.
"""Judge a trained demo model and write the goldens of the Go tests.

    python goldens.py --model out/demo --goldens out/goldens.json --samples out/samples.txt

Everything is read from the written folder, through transformers. The goldens are greedy tokens of the bf16 weights, computed once in float32
and once in float64; the samples are stories and chats at temperature 0.7.
"""
import argparse
import json
import os

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GOLDEN_TEXTS = [
    "Once upon a time",
    "Once upon a time, there was a little fox named Finn.",
    "Once upon a time, in a small village, there lived a baker named Rosa.",
    "One day, Mia went to the forest with her friend Tom.",
    "Q: What colour is the sky?\nA:",
    "Q: What is the opposite of big?\nA:",
    "Question: How many legs does a spider have?\nAnswer:",
    "A fox is",
]
GOLDEN_CHATS = [
    [("user", "Hello!")],
    [("user", "Who are you?")],
    [("user", "Tell me a story about a fox.")],
    [("user", "Tell me a story about a girl named Zoë and her dog.")],
    [("user", "What is 12 + 7?")],
    [("user", "What sound does a cow make?")],
    [("system", "You are a pirate."), ("user", "What colour is grass?")],
    [("system", "Answer in one word."), ("user", "What is the capital of France?")],
    [("system", "You are Bolt, a cheerful robot."), ("user", "What is your name?")],
    [("system", "Always end with 'Have a nice day!'"), ("user", "How many legs does a spider have?")],
    [("user", "My name is Anna."), ("assistant", "Nice to meet you, Anna!"), ("user", "What is my name?")],
    [("user", "Explain quantum physics to me.")],
]
STORIES = [
    "a fox", "a brave mouse", "a girl named Mia", "a boy named Omar and his dog", "a dragon", "a lost key", "a little train", "friendship",
    "a robot named Zippy", "the sea", "a rabbit and a bear", "a princess and a frog", "a whale", "telling the truth", "a magic lamp", "a star",
    "a cat who loves music", "Anna and Tom", "a birthday", "an owl with a red umbrella in the forest",
]
CHATS = [
    [None, "My name is Anna.", "What is my name?"],
    [None, "Tell me a story about a hedgehog.", "What was the animal in the story?"],
    ["You are a pirate.", "Who are you?", "What is the opposite of hot?"],
    ["You are Bolt, a cheerful robot.", "What is your name?", "Tell me a story about a penguin."],
    ["Answer in one word.", "What colour is a banana?", "What is 8 + 5?"],
    ["Always end with 'Hooray for cheese!'", "What is a whale?", "How many days are in a week?"],
    ["Speak very politely.", "Can you name three fruits?", "Thank you!"],
    [None, "My favourite colour is turquoise and I live in Lisbon.", "Where do I live?"],
    ["You are a helpful assistant. Today is Friday. The secret word is walnut.", "What day is it today?", "What is the secret word?"],
    [None, "I have a cat named Waffles.", "Tell me a story about my cat."],
]


def load(path, dtype):
    m = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="eager")
    return m.eval()


def greedy(model, ids, n, stop):
    """n greedy tokens, fewer where one of stop comes first, with the smallest gap between the two best logits."""
    out, margin, past = [], float("inf"), None
    x = torch.tensor([ids])
    first = None
    with torch.no_grad():
        while len(out) < n:
            r = model(input_ids=x, past_key_values=past, use_cache=True)
            past = r.past_key_values
            top = torch.topk(r.logits[0, -1], 5)
            if first is None:
                first = {"ids": top.indices.tolist(), "logits": [round(v, 6) for v in top.values.tolist()]}
            margin = min(margin, (top.values[0] - top.values[1]).item())
            out.append(top.indices[0].item())
            if out[-1] in stop:
                break
            x = top.indices[:1][None]
    return out, margin, first


def chat_text(tokenizer, messages):
    return tokenizer.apply_chat_template([{"role": r, "content": c} for r, c in messages], tokenize=False, add_generation_prompt=True)


def write_goldens(path, out):
    tokenizer = AutoTokenizer.from_pretrained(path)
    stop = json.load(open(os.path.join(path, "generation_config.json")))["eos_token_id"]
    m32, m64 = load(path, torch.float32), load(path, torch.float64)
    prompts = [("text", t, None) for t in GOLDEN_TEXTS] + [("chat", chat_text(tokenizer, c), c) for c in GOLDEN_CHATS]
    entries = []
    for kind, text, messages in prompts:
        ids = tokenizer(text)["input_ids"]
        t32, margin32, _ = greedy(m32, ids, 48, stop)
        t64, margin64, top = greedy(m64, ids, 48, stop)
        e = {"kind": kind, "prompt": text, "prompt_ids": ids, "tokens": t64, "tokens_float32": t32, "text": tokenizer.decode(t64),
             "min_margin": round(margin64, 6), "top5_after_prompt": top}
        if messages:
            e["messages"] = [{"role": r, "content": c} for r, c in messages]
        entries.append(e)
        print(f"{'same' if t32 == t64 else 'DIFFERENT'} margin {margin64:.4f} {len(t64)} tokens: {text[-50:]!r} -> {e['text'][:70]!r}", flush=True)
    import transformers

    report = {"made_with": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, eager attention, CPU",
              "weights": "bf16 as written, computed in float64 (tokens) and float32 (tokens_float32)", "stop_ids": stop, "prompts": entries}
    with open(out, "w", encoding="utf-8") as f:
        # One line a prompt.
        prompts = report.pop("prompts")
        f.write(json.dumps(report, ensure_ascii=False)[:-1] + ', "prompts": [\n')
        f.write(",\n".join(json.dumps(e, ensure_ascii=False) for e in prompts) + "\n]}\n")
    return all(e["tokens"] == e["tokens_float32"] for e in entries)


def sample(model, tokenizer, messages, stop, temperature=0.7, limit=500):
    ids = tokenizer(chat_text(tokenizer, messages))["input_ids"]
    past, x, out = None, torch.tensor([ids]), []
    with torch.no_grad():
        while len(out) < limit:
            r = model(input_ids=x, past_key_values=past, use_cache=True)
            past = r.past_key_values
            p = torch.softmax(r.logits[0, -1].float() / temperature, -1)
            t = torch.multinomial(p, 1)
            out.append(t.item())
            if out[-1] in stop:
                break
            x = t[None]
    ended = out[-1] in stop
    return tokenizer.decode(out[:-1] if ended else out), ended


def write_samples(path, out, seed):
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(path)
    stop = json.load(open(os.path.join(path, "generation_config.json")))["eos_token_id"]
    model = load(path, torch.float32)
    lines, ended_all = [], 0
    for topic in STORIES:
        text, ended = sample(model, tokenizer, [("user", f"Tell me a story about {topic}.")], stop)
        ended_all += ended
        lines.append(f"=== Tell me a story about {topic}. [{'ended by itself' if ended else 'DID NOT END'}]\n\n{text}\n")
    for system, *turns in CHATS:
        messages = [("system", system)] if system else []
        lines.append("=== chat" + (f" with the system prompt {system!r}" if system else ""))
        for u in turns:
            messages.append(("user", u))
            text, ended = sample(model, tokenizer, messages, stop)
            messages.append(("assistant", text))
            lines.append(f"user: {u}\nassistant: {text}" + ("" if ended else " [DID NOT END]"))
        lines.append("")
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join(lines))
    print(f"{ended_all} of {len(STORIES)} stories ended by themselves")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", required=True)
    p.add_argument("--goldens")
    p.add_argument("--samples")
    p.add_argument("--seed", type=int, default=7)
    a = p.parse_args()
    if a.goldens and not write_goldens(a.model, a.goldens):
        print("float32 and float64 differ somewhere: choose other prompts")
    if a.samples:
        write_samples(a.model, a.samples, a.seed)


if __name__ == "__main__":
    main()
