# Copyright 2026 The minisgl Authors. Licensed under the Apache License, Version 2.0.
"""Write the demo model's corpus: python corpus.py --out corpus.txt --megabytes 200 --seed 1

Documents are separated by <|endoftext|> and a newline. The same seed and the same number of shards give the same text, however many
processes write it.
"""
import argparse
import re
from multiprocessing import Pool

from chats import chat, fact_document, math_document, qa_document, render, topic_chat
from grammar import Grammar
from stories import Story

EOT = "<|endoftext|>"
KINDS = [("story", 30), ("chat", 62), ("qa", 4), ("facts", 2), ("math", 2)]


def document(g, limit=8000, topics=0.0):
    """One document without its final <|endoftext|>; topics is the share of chats about a theme."""
    if topics and g.chance(topics):
        return render(topic_chat(g)).rstrip("\n")
    kind = g.weighted(KINDS)
    if kind == "story":
        s = Story(g)
        if s.hero.name and g.chance(0.1):
            # Now and then only a later part of a story, so that any beginning can be continued.
            return s.later_part(g)
        return s.text
    if kind == "chat":
        return render(chat(g, g.weighted([(1600, 68), (3200, 26), (limit, 6)]))).rstrip("\n")
    if kind == "qa":
        return qa_document(g)
    return fact_document(g) if kind == "facts" else math_document(g)


def shard(job):
    """The documents of one shard: about size characters."""
    seed, size, topics = job
    g = Grammar(seed)
    docs = []
    while size > 0:
        d = document(g, topics=topics)
        if not d:
            continue
        docs.append(d)
        size -= len(d)
    return docs


def generate(megabytes, seed, shards=64, processes=None, topics=0.0):
    """All documents, shard by shard."""
    jobs = [(f"{seed}/{i}", megabytes * 1_000_000 // shards, topics) for i in range(shards)]
    if processes == 1:
        for job in jobs:
            yield from shard(job)
        return
    with Pool(processes) as pool:
        for docs in pool.imap(shard, jobs):
            yield from docs


CHECKS = [
    (r"[{}\[\]|](?!im_|end|>)", "template left over"),
    (r"\b[Aa] (?!uni|one|use|eu|ukulele|uk)[aeiou]\w*", "a before a vowel"),
    (r"\b[Aa]n (?!hour|honest|honou?r|heir)[^aeiouAEIOUÀ-ÿ\"'“]\w*", "an before a consonant"),
    (r"  ", "two spaces"),
    (r" [.,!?;](?!\.)", "space before punctuation"),
    (r"[a-z]\.[A-Z]", "no space after a full stop"),
    (r"[.!?] [a-z]", "small letter after a full stop"),
    (r"\b(\w+) \1\b", "the same word twice"),
    (r"[,.!?][,.](?!\.)", "two marks"),
]


def check(docs):
    """Print what looks wrong, at most five samples of a kind."""
    seen = {}
    for d in docs:
        for pattern, what in CHECKS:
            for m in re.finditer(pattern, d):
                seen.setdefault(what, []).append(d[max(0, m.start() - 40) : m.end() + 30].replace("\n", "⏎"))
    for what, found in seen.items():
        print(f"{what}: {len(found)}")
        for f in found[:: max(1, len(found) // 12)][:12]:
            print("    " + f)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", help="the file to write; without it, print a few documents")
    p.add_argument("--megabytes", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--check", action="store_true", help="look for mistakes in two megabytes of text")
    p.add_argument("--topics", type=float, default=0.0, help="share of chats that ask for a story about a theme")
    p.add_argument("--processes", type=int)
    a = p.parse_args()
    if a.check:
        check(list(generate(2, a.seed, 4, 1, a.topics)))
    elif a.out:
        with open(a.out, "w", encoding="utf-8") as f:
            for d in generate(a.megabytes, a.seed, processes=a.processes, topics=a.topics):
                f.write(d + EOT + "\n")
    else:
        g = Grammar(a.seed)
        for _ in range(12):
            print(document(g, topics=a.topics) + EOT + "\n")


if __name__ == "__main__":
    main()
