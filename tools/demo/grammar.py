# Copyright 2026 The minisgl Authors. Licensed under the Apache License, Version 2.0.
"""A small text grammar: templates with [one|another] choices and {slots}.

    g = Grammar(seed)
    g.say("{He} found a [red|blue] {obj}.", {"he": "she", "obj": "umbrella"})

A slot is looked up in the dictionary given to say(). A slot whose name begins
with a capital letter gives the value with its first letter capitalised. The
article "a" is turned into "an" where English wants it, so templates need not
care. Choices are skewed towards the first alternative: a model trained on the
text then has a clear favourite at each choice, which keeps greedy decoding
stable.
"""
import random
import re

_cache = {}


def _parse(text, pos, depth):
    """Parse text from pos into a list of parts: str, ("slot", name) or ("alt", [parts...])."""
    parts, alternatives, buf = [], [], []

    def flush():
        if buf:
            parts.append("".join(buf))
            buf.clear()

    while pos < len(text):
        c = text[pos]
        if c == "[":
            flush()
            group, pos = _parse(text, pos + 1, depth + 1)
            parts.append(("alt", group))
            continue
        if c == "{":
            end = text.index("}", pos)
            flush()
            parts.append(("slot", text[pos + 1 : end]))
            pos = end + 1
            continue
        if depth and c == "|":
            flush()
            alternatives.append(parts)
            parts = []
        elif depth and c == "]":
            flush()
            alternatives.append(parts)
            return alternatives, pos + 1
        elif c in "]}":
            raise ValueError(f"unbalanced {c!r} in template {text!r}")
        else:
            buf.append(c)
        pos += 1
    if depth:
        raise ValueError(f"unclosed [ in template {text!r}")
    flush()
    return parts, pos


def cap(text):
    return text[:1].upper() + text[1:]


_ARTICLE = re.compile(r"\b([Aa])n? (?=[\"'“]?([A-Za-zÀ-ÿ]+))")
_AN = re.compile(r"(?i)(?!one\b|once|uni|use|usu|eu|u[kf]|ukulele)[aeiouéáí]|hour|honest|honou?r|heir")


def article(word):
    """The indefinite article for a word: "a" or "an"."""
    return "an" if _AN.match(word) else "a"


def fix_articles(text):
    def fix(m):
        n = "n" if _AN.match(m.group(2)) else ""
        return m.group(1) + n + " "

    return _ARTICLE.sub(fix, text)


class Grammar:
    """A seeded source of choices and of text made from templates."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def pick(self, items):
        """One of the items, the first ones more often."""
        return items[int(len(items) * self.rng.random() ** 1.5)]

    def any(self, items):
        """One of the items, all equally often."""
        return items[int(len(items) * self.rng.random())]

    def chance(self, p):
        return self.rng.random() < p

    def weighted(self, pairs):
        """One first element of (item, weight) pairs."""
        total = self.rng.random() * sum(w for _, w in pairs)
        for item, w in pairs:
            total -= w
            if total < 0:
                return item
        return pairs[-1][0]

    def sample(self, items, n):
        return self.rng.sample(items, n)

    def num(self, low, high):
        return self.rng.randint(low, high)

    def _render(self, parts, ctx, out):
        for p in parts:
            if p.__class__ is str:
                out.append(p)
            elif p[0] == "alt":
                alternatives = p[1]
                self._render(alternatives[int(len(alternatives) * self.rng.random() ** 1.5)], ctx, out)
            else:
                name = p[1]
                if name in ctx:
                    out.append(ctx[name])
                else:
                    out.append(cap(ctx[name[0].lower() + name[1:]]))

    def say(self, template, ctx=None, **more):
        parts = _cache.get(template)
        if parts is None:
            parts = _cache[template] = _parse(template, 0, 0)[0]
        if more:
            ctx = {**ctx, **more} if ctx else more
        out = []
        self._render(parts, ctx or {}, out)
        return fix_articles("".join(out))
