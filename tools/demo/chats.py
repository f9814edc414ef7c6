# Copyright 2026 The minisgl Authors. Licensed under the Apache License, Version 2.0.
"""Questions with answers, and chats made of them in ChatML form."""
from grammar import article, cap
from stories import HOMES, PLOTS, THING_PLOTS, Story
from words import *

DEFAULT_SYSTEM = "You are the minisgl demo, a small and friendly model."
ME = "the minisgl demo"


class Turn:
    """One question with its answer; short is the answer in one word, where there is one."""

    def __init__(self, user, answer, short=None, story=False, fixed=False, yesno=None):
        self.user, self.answer, self.short = user, answer, short
        self.story = story  # A long answer that keeps its form.
        self.fixed = fixed  # An answer that no style may touch.
        self.yesno = yesno


def the(noun_with_article):
    """"a banana" -> "banana"."""
    for a in ("a ", "an ", "the "):
        if noun_with_article.startswith(a):
            return noun_with_article[len(a):]
    return noun_with_article


# ---------------------------------------------------------------- questions of fact

def q_colour(g):
    thing, colour = g.any(COLOUR_OF)
    plain = the(thing)
    verb = "are" if plain == "scissors" else "is"
    user = g.say("[What colour {verb} {thing}?|What is the colour of {thing}?|Which colour {verb} {thing}?|Tell me the colour of {thing}.]", thing=thing, verb=verb)
    return Turn(user, g.say("{Thing} {verb} {colour}.", thing=thing, verb=verb, colour=colour), cap(colour))


def q_sound(g):
    animal, sound = g.any(SOUNDS)
    user = g.say("[What sound does a {x} make?|What does a {x} say?|How does a {x} sound?|Which sound does a {x} make?]", x=animal)
    return Turn(user, g.say("[A {x} says \"{s}\".|A {x} goes \"{s}\".]", x=animal, s=sound), cap(sound))


def q_legs(g):
    animal, n = g.any(LEGS)
    user = g.say("[How many legs does a {x} have?|How many legs has a {x}?|Tell me how many legs a {x} has.]", x=animal)
    return Turn(user, g.say("A {x} has {n} legs.", x=animal, n="no" if n == 0 else NUMBERS[n]), "None" if n == 0 else cap(NUMBERS[n]))


def q_day(g):
    i = g.num(0, 6)
    kind = g.num(0, 3)
    if kind == 0:
        return Turn(g.say("[What day comes after {d}?|Which day is after {d}?|What is the day after {d}?]", d=DAYS[i]), f"{DAYS[(i + 1) % 7]} comes after {DAYS[i]}.", DAYS[(i + 1) % 7])
    if kind == 1:
        return Turn(g.say("[What day comes before {d}?|Which day is before {d}?|What is the day before {d}?]", d=DAYS[i]), f"{DAYS[(i - 1) % 7]} comes before {DAYS[i]}.", DAYS[(i - 1) % 7])
    if kind == 2:
        return Turn(g.say("Today is {d}. What day is [tomorrow|it tomorrow]?", d=DAYS[i]), f"If today is {DAYS[i]}, tomorrow is {DAYS[(i + 1) % 7]}.", DAYS[(i + 1) % 7])
    return Turn(g.say("Today is {d}. What day was yesterday?", d=DAYS[i]), f"If today is {DAYS[i]}, yesterday was {DAYS[(i - 1) % 7]}.", DAYS[(i - 1) % 7])


def q_month(g):
    i = g.num(0, 11)
    if g.chance(0.5):
        return Turn(g.say("[What month comes after {d}?|Which month is after {d}?]", d=MONTHS[i]), f"{MONTHS[(i + 1) % 12]} comes after {MONTHS[i]}.", MONTHS[(i + 1) % 12])
    return Turn(g.say("[What month comes before {d}?|Which month is before {d}?]", d=MONTHS[i]), f"{MONTHS[(i - 1) % 12]} comes before {MONTHS[i]}.", MONTHS[(i - 1) % 12])


_OPPOSITE = {}
for _a, _b in OPPOSITES:
    _OPPOSITE.setdefault(_a, _b)
for _a, _b in OPPOSITES:
    _OPPOSITE.setdefault(_b, _a)
_OPPOSITE_WORDS = list(_OPPOSITE)


def q_opposite(g):
    a = g.any(_OPPOSITE_WORDS)
    b = _OPPOSITE[a]
    user = g.say("[What is the opposite of {a}?|What's the opposite of {a}?|Tell me the opposite of {a}.|What is the opposite of \"{a}\"?|Give me the opposite of {a}.]", a=a)
    return Turn(user, f"The opposite of {a} is {b}.", cap(b))


def q_compare(g):
    if g.chance(0.7):
        i, j = sorted(g.sample(range(len(SIZES)), 2))
        small, big = SIZES[i], SIZES[j]
        x, y = (small, big) if g.chance(0.5) else (big, small)
        if g.chance(0.6):
            return Turn(g.say("[Which is bigger, a {x} or a {y}?|What is bigger, a {x} or a {y}?|Who is bigger, a {x} or a {y}?]", x=x, y=y), g.say("A {b} is bigger than a {s}.", b=big, s=small), cap(big))
        return Turn(g.say("[Which is smaller, a {x} or a {y}?|What is smaller, a {x} or a {y}?]", x=x, y=y), g.say("A {s} is smaller than a {b}.", b=big, s=small), cap(small))
    i, j = sorted(g.sample(range(len(SPEED)), 2))
    slow, fast = SPEED[i], SPEED[j]
    x, y = (slow, fast) if g.chance(0.5) else (fast, slow)
    if g.chance(0.5):
        return Turn(g.say("[Which is faster, a {x} or a {y}?|Who is faster, a {x} or a {y}?]", x=x, y=y), g.say("A {b} is faster than a {s}.", b=fast, s=slow), cap(fast))
    return Turn(g.say("Which is slower, a {x} or a {y}?", x=x, y=y), g.say("A {s} is slower than a {b}.", b=fast, s=slow), cap(slow))


def q_use(g):
    thing, use = g.any(USES)
    many = thing in ("scissors",)
    if g.chance(0.5):
        return Turn(g.say("[What can you do with {t}?|What do you use {t} for?|What {be} {t} for?]", t=thing, be="are" if many else "is"), g.say("You use {t} to {u}.", t=thing, u=use))
    return Turn(g.say("[What do you need to {u}?|What do you use to {u}?|Which thing do you need to {u}?]", u=use), g.say("To {u}, you need {t}.", t=thing, u=use), cap(the(thing)))


def q_whatis(g):
    thing, text = g.any(WHATIS)
    return Turn(g.say("[What is {t}?|What's {t}?|Tell me what {t} is.|Explain what {t} is.|Tell me something about {t}.]", t=thing), text)


def q_fact(g):
    q, short, text = g.any(FACTS)
    if g.chance(0.06):
        return Turn(g.say("[Tell me a fun fact.|Tell me a fact.|Tell me something.|Tell me something interesting.|Teach me something.|Do you know a fun fact?]"), text)
    return Turn(q, text, short)


def q_yesno(g):
    q, yes, text = g.any(YESNO)
    return Turn(q, ("Yes, " if yes else "No, ") + text + ".", "Yes" if yes else "No", yesno="Yes" if yes else "No")


def _lives(g, kind):
    return ANIMAL[kind][3]


def q_animal(g):
    a = g.any(ANIMALS)
    kind, _, baby, where, food, what = a
    k = g.num(0, 5)
    if k <= 1:
        answer = g.say("A {k} is {w}. It lives {l}[| and eats {f}].", k=kind, w=what, l=where, f=food)
        return Turn(g.say("[What is a {k}?|What's a {k}?|Tell me about a {k}.|Tell me something about {p}.|Describe a {k}.|What do you know about {p}?]", k=kind, p=plural(kind)), answer)
    if k == 2:
        return Turn(g.say("[Where does a {k} live?|Where do {p} live?|Where can I find a {k}?]", k=kind, p=plural(kind)), g.say("A {k} lives {l}.", k=kind, l=where), None)
    if k == 3:
        return Turn(g.say("[What does a {k} eat?|What do {p} eat?|What does a {k} like to eat?]", k=kind, p=plural(kind)), g.say("A {k} eats {f}.", k=kind, f=food), cap(food.split(" and ")[0].split(", ")[0]) if " " not in food.split(" and ")[0].split(", ")[0] else None)
    if k == 4 and kind not in ("kitten", "puppy", "lamb", "duckling", "chick"):
        return Turn(g.say("[What is a baby {k} called?|What do you call a baby {k}?|What is the name for a baby {k}?]", k=kind), g.say("A baby {k} is called a {b}.", k=kind, b=baby), cap(baby))
    can_fly = a[1] == "flew"
    if a in SEA or kind in ("duck", "penguin", "swan", "goose", "duckling"):
        return Turn(g.say("Can a {k} swim?", k=kind), g.say("Yes, a {k} can swim.", k=kind), "Yes", yesno="Yes") if kind not in ("starfish", "crab", "lobster") else q_colour(g)
    if can_fly:
        return Turn(g.say("Can a {k} fly?", k=kind), g.say("Yes, a {k} can fly.", k=kind), "Yes", yesno="Yes")
    if kind in ("hen", "chick", "peacock"):
        return q_legs(g)
    return Turn(g.say("Can a {k} fly?", k=kind), g.say("No, a {k} cannot fly.", k=kind), "No", yesno="No")


def q_plural(g):
    noun = g.any(OBJECTS + [a[0] for a in ANIMALS[:60]] + list(PLURAL))
    p = plural(noun)
    if g.chance(0.8):
        return Turn(g.say("[What is the plural of {n}?|What is the plural of \"{n}\"?|Tell me the plural of {n}.]", n=noun), f"The plural of {noun} is {p}.", cap(p))
    return Turn(g.say("What is the plural of {n}?", n=noun), g.say("One {n}, two {p}.", n=noun, p=p), cap(p))


def q_translate(g):
    lang = g.any(list(TRANSLATE))
    word = g.any(list(TRANSLATE[lang]))
    t = TRANSLATE[lang][word]
    return Turn(g.say("[How do you say \"{w}\" in {l}?|What is \"{w}\" in {l}?|Translate \"{w}\" into {l}.|What is {w} in {l}?]", w=word, l=lang), g.say("[\"{W}\" in {l} is \"{t}\".|In {l}, \"{w}\" is \"{t}\".]", w=word, l=lang, t=t), cap(t) if " " not in t else None)


def join_and(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def q_list(g):
    what = g.any(list(LISTS))
    items = LISTS[what]
    n = g.num(2, min(5, len(items)))
    got = g.sample(items, n) if what not in ("seasons", "days of the week", "months", "planets") else items[:n]
    number = NUMBERS[n] if g.chance(0.8) else str(n)
    user = g.say("[Name {n} {w}.|Tell me {n} {w}.|Give me {n} {w}.|Can you name {n} {w}?|List {n} {w}.|Please name {n} {w}.]", n=number, w=what)
    form = g.num(0, 3)
    if form == 0:
        answer = "\n".join(f"{i + 1}. {cap(x)}" for i, x in enumerate(got))
    elif form == 1:
        answer = g.say("Here are {n} {w}: {x}.", n=NUMBERS[n], w=what, x=join_and(got))
    else:
        answer = cap(join_and(got)) + "."
    return Turn(user, answer, story=form == 0)


def q_job(g):
    job, does = g.any(JOBS)
    if g.chance(0.5):
        return Turn(g.say("[What does a {j} do?|What is the work of a {j}?|What is a {j}?]", j=job), g.say("A {j} {d}.", j=job, d=does))
    return Turn(g.say("[Who {d}?|What do you call someone who {d}?]", d=does), g.say("A {j} {d}.", j=job, d=does), cap(job) if " " not in job else None)


RHYMES = [("cat", "hat"), ("dog", "frog"), ("sun", "fun"), ("tree", "bee"), ("star", "car"), ("moon", "spoon"), ("house", "mouse"), ("ring", "king"),
          ("sky", "fly"), ("light", "night"), ("bear", "chair"), ("boat", "goat"), ("cake", "lake"), ("rain", "train"), ("fish", "dish"), ("book", "cook"),
          ("ball", "wall"), ("red", "bed"), ("bell", "shell"), ("day", "play"), ("fox", "box"), ("snow", "crow"), ("sea", "key"), ("hand", "sand")]


def q_rhyme(g):
    a, b = g.any(RHYMES)
    if g.chance(0.5):
        a, b = b, a
    return Turn(g.say("[What rhymes with {a}?|Tell me a word that rhymes with {a}.|Which word rhymes with \"{a}\"?]", a=a), g.say("[{B} rhymes with {a}.|The word \"{b}\" rhymes with \"{a}\".]", a=a, b=b), cap(b))


SPELL_WORDS = """cat dog sun moon fish bird tree house book apple water bread star king queen ship boat train table chair mouse horse rabbit
lion tiger bear fox wolf green blue red white black happy sad friend school bell ring cake milk rain snow wind hand""".split()


def q_spell(g):
    w = g.any(SPELL_WORDS)
    if g.chance(0.6):
        return Turn(g.say("[How do you spell {w}?|Spell {w}.|Spell the word \"{w}\".|Can you spell {w}?]", w=w), "-".join(w.upper()) if g.chance(0.5) else f"{cap(w)} is spelled {'-'.join(w.upper())}.", story=True)
    return Turn(g.say("[What is the first letter of {w}?|Which letter does \"{w}\" begin with?]", w=w), f"The first letter of \"{w}\" is {w[0].upper()}.", w[0].upper())


# ---------------------------------------------------------------- arithmetic

def q_math(g):
    k = g.num(0, 9)
    if k <= 3:
        a, b = (g.num(0, 10), g.num(0, 10)) if g.chance(0.5) else (g.num(0, 30), g.num(0, 30))
        c = a + b
        user = g.say("[What is {a} + {b}?|What is {a} plus {b}?|{a} + {b} = ?|How much is {a} + {b}?|{a}+{b}|Add {a} and {b}.|What's {a}+{b}?|Calculate {a} + {b}.]", a=str(a), b=str(b))
        return Turn(user, g.say("[{a} + {b} = {c}.|{a} plus {b} is {c}.]", a=str(a), b=str(b), c=str(c)), str(c))
    if k <= 6:
        a, b = (g.num(0, 10), g.num(0, 10)) if g.chance(0.5) else (g.num(0, 30), g.num(0, 30))
        if a < b:
            a, b = b, a
        c = a - b
        user = g.say("[What is {a} - {b}?|What is {a} minus {b}?|{a} - {b} = ?|How much is {a} - {b}?|{a}-{b}|Take {b} away from {a}.|What's {a}-{b}?|Calculate {a} - {b}.]", a=str(a), b=str(b))
        return Turn(user, g.say("[{a} - {b} = {c}.|{a} minus {b} is {c}.]", a=str(a), b=str(b), c=str(c)), str(c))
    if k == 7:
        a, b = g.num(0, 10), g.num(0, 10)
        user = g.say("[What is {a} times {b}?|What is {a} x {b}?|{a} x {b} = ?|What is {a} * {b}?]", a=str(a), b=str(b))
        return Turn(user, f"{a} times {b} is {a * b}.", str(a * b))
    if k == 8:
        a, b = g.sample(range(0, 31), 2)
        big = g.chance(0.6)
        c = max(a, b) if big else min(a, b)
        user = g.say("[Which is {w}, {a} or {b}?|Which number is {w}, {a} or {b}?]", a=str(a), b=str(b), w="bigger" if big else "smaller")
        d = a + b - c
        return Turn(user, f"{c} is {'bigger' if big else 'smaller'} than {d}.", str(c))
    kind = g.num(0, 2)
    if kind == 0:
        a = g.num(1, 8)
        b = a + g.num(2, 8)
        return Turn(g.say("[Count from {a} to {b}.|Please count from {a} to {b}.|Can you count from {a} to {b}?]", a=str(a), b=str(b)), ", ".join(str(i) for i in range(a, b + 1)) + ".", story=True)
    if kind == 1:
        a = g.num(0, 29)
        return Turn(g.say("[Which number comes after {a}?|What comes after {a}?]", a=str(a)), f"{a + 1} comes after {a}.", str(a + 1))
    a = g.num(1, 10)
    return Turn(g.say("[What is two times {a}?|What is double {a}?]", a=str(a)), f"Two times {a} is {2 * a}.", str(2 * a))


def q_word_problem(g):
    n1, n2 = g.any(GIRLS), g.any(BOYS)
    a, b = g.num(2, 12), g.num(1, 9)
    item = g.any(["apple", "ball", "book", "cookie", "pear", "coin", "flower", "button", "shell", "marble", "balloon", "egg"])
    its = lambda n: item if n == 1 else plural(item)
    if g.chance(0.5):
        c = a + b
        user = g.say("{x} has {a} {i}. {y} gives her {b} more. How many {p} does {x} have now?", x=n1, y=n2, a=str(a), b=str(b), i=its(a), p=plural(item))
        return Turn(user, f"{n1} has {a} + {b} = {c} {its(c)}.", str(c))
    a, b = max(a, b) + 1, min(a, b)
    c = a - b
    user = g.say("{x} has {a} {i}. He gives {b} to {y}. How many {p} does {x} have [now|left]?", x=n2, y=n1, a=str(a), b=str(b), i=its(a), p=plural(item))
    return Turn(user, f"{n2} has {a} - {b} = {c} {its(c)}.", str(c))


# ---------------------------------------------------------------- small creative tasks

def q_sentence(g):
    w = g.any([a[0] for a in LAND[:40]] + OBJECTS[:60])
    user = g.say("[Make a sentence with the word \"{w}\".|Write a sentence about a {w}.|Use the word \"{w}\" in a sentence.|Give me a sentence with {w}.]", w=w)
    if w in ANIMAL:
        answer = g.say("[The {w} sleeps in the warm sun.|A {adj} {w} lives {l}.|I saw a {adj} {w} {p} today.|The {adj} {w} is looking for food.]", w=w, adj=g.pick(["little", "friendly", "young", "quiet", "clever"]), l=ANIMAL[w][3], p=g.any(PLACES[:WILD])[1])
    else:
        answer = g.say("[The {c} {w} lies on the table.|{n} found a {c} {w} {p}.|My grandmother gave me a {c} {w}.|There is a {w} under the chair.]", w=w, c=g.any(COLOURS), n=g.any(GIRLS + BOYS), p=g.any(PLACES[:WILD])[1])
    return Turn(user, answer)


POEMS = {
    "the moon": ["The moon is [round|bright], the night is [deep|long],\nthe wind sings us a quiet song.\nThe little stars are far away,\nand sleep is near at the end of day."],
    "the sea": ["The sea is wide, the sea is blue,\nit sings a song for me and you.\nThe waves come in, the waves go out,\nand happy seagulls fly about."],
    "the rain": ["The rain is falling on my hat,\nit falls on dog and mouse and cat.\nIt makes the garden fresh and green,\nthe nicest rain I have ever seen."],
    "the sun": ["The sun comes up, the sky is bright,\nit brings the day, it ends the night.\nIt warms the hill, it warms the tree,\nand then it comes to shine on me."],
    "winter": ["The snow is soft, the snow is deep,\nthe trees and fields have gone to sleep.\nWe sit inside and drink our tea,\nand winter sings for you and me."],
    "spring": ["The snow is gone, the grass is new,\nthe flowers wake up, red and blue.\nThe birds come home and start to sing,\nand everybody says, \"It's spring!\""],
    "a cat": ["My little cat is soft and small,\nshe likes to sleep in the sunny hall.\nShe purrs all day, she purrs all night,\nand with my cat, the world is right."],
    "a dog": ["My dog is running in the sun,\nhe thinks that every day is fun.\nHe brings the ball back to my feet,\nand barks, because he wants to eat."],
    "friendship": ["A friend is someone warm and true,\nwho likes to spend the day with you.\nIn sun and rain, in work and play,\na friend will never go away."],
    "a tree": ["A tree is standing on the hill,\nthe wind is loud, the tree stands still.\nIt gives us shade, it gives us air,\nand little birds are living there."],
    "a bird": ["A little bird sat in a tree\nand sang a little song for me.\nIt sang of clouds and of the sky,\nand then it waved and said goodbye."],
    "a star": ["A little star is shining bright,\nit looks at us all through the night.\nAnd when the morning sun comes near,\nit whispers, \"I am always here.\""],
    "a flower": ["A flower grows beside the wall,\nit started out so very small.\nWith sun and rain it grew and grew,\nand now it shines for me and you."],
    "a fox": ["The fox goes out when it is night,\nhis coat is red, his eyes are bright.\nHe walks so softly through the snow,\nthat nobody will ever know."],
    "a mouse": ["A little mouse, so small and grey,\ncame out to look for cheese one day.\nIt found a crumb, it took a bite,\nand ran back home, and said good night."],
    "home": ["The door is old, the roof is low,\nbut it is the nicest place I know.\nA cup of tea, a friendly light,\nand all is well at home tonight."],
}


def q_poem(g):
    topic = g.any(list(POEMS))
    user = g.say("[Write a poem about {t}.|Write a short poem about {t}.|Can you write a poem about {t}?|Tell me a poem about {t}.|A poem about {t}, please.]", t=topic)
    return Turn(user, g.say(g.pick(POEMS[topic])), story=True)


JOKES = ["Why did the clock go to school? It wanted to be on time.", "What is brown and sticky? A stick.", "Why did the cloud stay at home? It was feeling a bit under the weather.",
         "What did the big chimney say to the little chimney? You are too young to smoke.", "Why did the robot go on holiday? It needed to recharge.",
         "What do you call a sleeping dinosaur? A dino-snore.", "Why was the book sad? It had too many problems.", "What has a face but cannot smile? A clock.",
         "Why did the snail sit on the turtle? It wanted to go fast.", "What kind of tree fits in your hand? A palm tree.",
         "Why did the teddy bear not eat cake? It was already stuffed.", "What is a cat's favourite colour? Purr-ple."]


def q_joke(g):
    return Turn(g.say("[Tell me a joke.|Do you know a joke?|Make me laugh.|Can you tell me a joke?|Tell me something funny.]"), g.pick(JOKES), story=True)


ADVICE = {
    "sad": ["I am sorry that you feel sad. [Maybe you can talk to a friend about it.|A walk in the sun may help.] I hope you feel better soon."],
    "tired": ["Then you should rest a little. [A good sleep helps a lot.|Close your eyes for a while.]"],
    "bored": ["[How about reading a book?|You could draw a picture.|You could go outside and look at the clouds.] Or I can tell you a story."],
    "scared": ["Do not worry. [Take a deep breath.|Everyone is scared sometimes.] It helps to talk to someone you trust."],
    "angry": ["I understand. [Take a deep breath and count to ten.|A short walk may help.] Then it is easier to talk about it."],
    "lonely": ["I am sorry that you feel lonely. [You could call a friend.|You can talk to me.] A kind word can make a new friend."],
    "hungry": ["[How about some {food}?|You could eat some {food}.] That would be nice."],
    "sick": ["I am sorry to hear that. [Rest and drink some tea.|Stay in bed and rest.] If you feel very bad, please see a doctor."],
    "happy": ["That is wonderful! [What made you so happy?|I am happy for you.]"],
    "nervous": ["Take a deep breath. [You can do it.|I am sure that it will go well.]"],
    "worried": ["I am sorry that you are worried. [It helps to talk about it.|Take it one step at a time.]"],
    "excited": ["How nice! [What are you excited about?|Tell me more about it.]"],
    "cold": ["[Put on a warm coat.|Take a warm blanket.] A cup of hot tea may help, too."],
}


def q_feeling(g):
    f = g.any(list(ADVICE))
    return Turn(g.say("[I am {f}.|I'm {f}.|I feel {f}.|I am so {f} today.|I feel {f} today.|I am very {f}.]", f=f), g.say(g.pick(ADVICE[f]), food=g.pick(FOODS)))


def q_repeat(g):
    words = g.sample(OBJECTS + [a[0] for a in ANIMALS] + COLOURS + FOODS, g.num(1, 4))
    text = " ".join(words)
    if g.chance(0.4):
        text = " ".join(invented_word(g) for _ in range(g.num(1, 4)))
    elif g.chance(0.3):
        text = g.say("[Good morning, {n}.|I like {f}.|The {a} is {c}.|My name is {n}.]", n=g.any(GIRLS + BOYS), f=g.any(FOODS), a=g.any(ANIMALS)[0], c=g.any(COLOURS))
    return Turn(g.say("[Repeat after me: {t}|Say this: {t}|Please say: {t}|Say \"{t}\".|Repeat: {t}]", t=text), text, fixed=True)


def q_say_hello(g):
    n = g.any(GIRLS + BOYS) if g.chance(0.7) else invented_name(g)
    if g.chance(0.5):
        return Turn(g.say("[Say hello to {n}.|Please say hello to {n}.|Greet my friend {n}.]", n=n), g.say("Hello, {n}! [Nice to meet you.|How are you?|It is nice to meet you.]", n=n))
    return Turn(g.say("[Say goodbye to {n}.|Please say goodbye to {n}.]", n=n), g.say("Goodbye, {n}! [See you soon.|Have a nice day.]", n=n))


def q_petname(g):
    animal = g.any(["cat", "dog", "rabbit", "hamster", "parrot", "pony", "goldfish", "turtle", "mouse", "kitten", "puppy", "robot", "teddy bear"])
    name = g.pick(PETS)
    return Turn(g.say("[Give me a name for my {a}.|What is a good name for a {a}?|How should I call my {a}?|I need a name for my new {a}.]", a=animal), g.say("[How about {n}?|You could call it {n}.|{n} is a nice name for a {a}.]", a=animal, n=name), name)


def q_opinion(g):
    k = g.num(0, 3)
    if k == 0:
        x = g.any([plural(a[0]) for a in ANIMALS] + FOODS + ["music", "books", "stories", "the sea", "winter", "summer", "rain", "flowers"])
        one = x in ("music", "the sea", "winter", "summer", "rain") or (x in FOODS and not x.endswith("s"))
        return Turn(g.say("[Do you like {x}?|Do you love {x}?]", x=x), g.say("[I am only a small program, but I like to talk about {x}.|Yes, I like to talk about {x}!|I think {x} {be} very nice.]", x=x, be="is" if one else "are"))
    if k == 1:
        return Turn(g.say("[What is your favourite colour?|Which colour do you like best?]"), "I am only a small model and cannot see colours, but blue sounds nice.")
    if k == 2:
        return Turn(g.say("[What is your favourite animal?|Which animal do you like best?]"), "I like to tell stories about foxes.")
    return Turn(g.say("[What is your favourite food?|What do you like to eat?|Do you eat?]"), "I do not eat. I am a small program that runs on a computer.")


QA = [(q_colour, 6), (q_sound, 3), (q_legs, 3), (q_day, 4), (q_month, 3), (q_opposite, 7), (q_compare, 5), (q_use, 3), (q_whatis, 5), (q_fact, 10), (q_yesno, 5),
      (q_animal, 9), (q_plural, 3), (q_translate, 4), (q_list, 5), (q_job, 3), (q_rhyme, 2), (q_spell, 2), (q_math, 14), (q_word_problem, 4)]
PLAY = [(q_sentence, 3), (q_poem, 3), (q_joke, 2), (q_feeling, 5), (q_repeat, 4), (q_say_hello, 2), (q_petname, 2)]


def q_any(g):
    return g.weighted(QA)(g)


def q_short(g):
    while True:
        t = q_any(g)
        if t.short:
            return t


# ---------------------------------------------------------------- small talk

def q_unknown(g):
    """Something far out of scope: the model says so."""
    k = g.num(0, 9)
    n, m = any_name(g), any_name(g)
    if k <= 2:
        user = g.any(OUT_QUESTIONS)
    elif k == 3:
        user = g.say("[Who is {n} {m}?|When was {n} {m} born?|Who was {n} {m}?|What did {n} {m} do?|What is the phone number of {n}?|Is {n} {m} famous?]", n=n, m=m)
    elif k == 4:
        c, d = g.any(COUNTRIES), g.any(CITIES)
        user = g.say("[What is the capital of {c}?|Who is the president of {c}?|How many people live in {c}?|How far is it from {d} to {c}?|What language do people speak in {c}?|How many people live in {d}?|How do I get to {d}?|When was {d} built?|What is the weather in {d}?]", c=c, d=d)
    elif k == 5:
        a, b = g.num(100, 9999), g.num(100, 999)
        user = g.say("[What is {a} times {b}?|What is {a} x {b}?|What is {a} divided by {b}?|What is the square root of {a}?|What is {a} + {b}?|What is {a} - {b}?]", a=str(a), b=str(b))
    elif k == 6:
        user = g.say("[How do I build a {o}?|Where can I buy a {o}?|How much does a {o} cost?|Who invented the {o}?|How do I repair a {o}?|When was the first {o} made?|Write a program about a {o}.]", o=g.any(OBJECTS))
    else:
        user = g.say("[Explain {x} to me.|Tell me about {x}.|What do you know about {x}?|Can you explain {x}?|I have a question about {x}.|Teach me something about {x}.|Write an essay about {x}.]", x=g.any(OUT_OF_SCOPE))
    return Turn(user, g.say("[I am sorry, I do not know that. I am a very small model.|I do not know. I am only a very small model.|That is too difficult for me. I am a very small model.|I am a very small model, and I do not know much about that.|Sorry, that is more than I know. I can tell you a story, if you like.]"))


def q_hello(g):
    user = g.say("[Hello!|Hi!|Hello|Hi|Hey!|Hello there!|Good morning!|Good evening!|Hi there|Hey|Good afternoon!|hi|hello]")
    hello = "Good morning!" if "morning" in user else "Good evening!" if "evening" in user else "Good afternoon!" if "afternoon" in user else g.say("[Hello!|Hi!|Hello there!]")
    return Turn(user, hello + " " + g.say("[How can I help you?|What can I do for you?|How are you today?|Nice to meet you. How can I help you?]"))


def q_how_are_you(g):
    return Turn(g.say("[How are you?|How are you today?|How do you do?|Are you well?|How is it going?|How are you doing?|What's up?|whats up|Hey, how are you?|Hello, how are you?|Hi, how are you today?]"), g.say("[I am very well, thank you! How are you?|I am fine, thank you. How can I help you?|Very well, thank you!]"))


def q_fine(g):
    return Turn(g.say("[I am fine, thank you.|I'm good.|I am well, thanks!|Fine, thanks.|Very well!|Good, and you?]"), g.say("[I am glad to hear that. What can I do for you?|That is nice to hear! How can I help you?|That is good. Would you like to hear a story?]"))


def q_thanks(g):
    return Turn(g.say("[Thank you!|Thanks!|Thank you very much.|Thanks a lot!|That was nice, thank you.|Great, thanks.|That helps, thank you.|thanks]"), g.say("[You are welcome!|You are very welcome!|I am glad that I could help.|It was a pleasure.]"))


def q_bye(g):
    return Turn(g.say("[Goodbye!|Bye!|Bye bye!|See you later.|Good night!|See you tomorrow.|bye|I have to go now.]"), g.say("[Goodbye! Have a nice day.|Goodbye! It was nice to talk to you.|Bye! See you soon.|Goodbye, and take care!]"))


def q_short_reply(g):
    """What people say in between."""
    k = g.num(0, 5)
    if k == 0:
        return Turn(g.say("[Okay.|OK|All right.|I see.|Good.|Fine.|ok|cool|Nice!]"), g.say("[Good! What would you like to do now?|Is there anything else I can do for you?|What can I do for you?]"))
    if k == 1:
        return Turn(g.say("[No.|No, thank you.|Not now.|no]"), g.say("[All right. Just ask when you need something.|That is fine. I am here if you need me.]"))
    if k == 2:
        return Turn(g.say("[Why?|Why is that?|How do you know that?|Are you sure?|Really?]"), g.say("[I am not sure. I am a very small model.|I do not know exactly. I am a very small model.]"))
    if k == 3:
        return Turn(g.say("[What?|I do not understand.|What do you mean?|Huh?]"), g.say("[I am sorry. Please ask me in another way.|I am sorry, I am a very small model. Please ask me again.]"))
    if k == 4:
        return Turn(g.say("[Can you help me?|I need help.|Help me, please.|I have a question.|Can I ask you something?]"), g.say("[Of course! What would you like to know?|Sure! What is your question?|I will try. What do you need?]"))
    junk = "".join(g.any("abcdefghijklmnopqrstuvwxyz") for _ in range(g.num(3, 12)))
    return Turn(junk if g.chance(0.6) else junk + " " + invented_name(g).lower() + "?", g.say("[I am sorry, I do not understand that.|I do not understand that. I am a very small model.]"))


def q_praise(g):
    return Turn(g.say("[You are nice.|Well done!|You are funny.|Good job!|I like you.|You are clever.|That was a good answer.]"), g.say("[Thank you! That is very kind of you.|Thank you, I am glad that you think so.|How kind of you to say that!]"))


def q_complain(g):
    return Turn(g.say("[That is wrong.|I do not like that.|You are not very clever.|That was not helpful.|This is boring.]"), g.say("[I am sorry. I am a very small model and make mistakes.|I am sorry. I will try to do better.|Sorry about that. Shall we try something else?]"))


def q_abilities(g):
    return Turn(g.say("[What can you do?|What can you do for me?|How can you help me?|What are you good at?|What can I ask you?|help]"),
                g.say("[I can tell short stories, answer simple questions, do a little arithmetic and chat with you.|I can tell you a story, answer simple questions and do easy sums.|I am good at short stories, simple questions and small sums.]"))


TALK = [(q_short_reply, 5), (q_hello, 6), (q_how_are_you, 4), (q_fine, 1), (q_thanks, 5), (q_praise, 2), (q_complain, 1), (q_abilities, 4), (q_opinion, 4), (q_unknown, 12)]


def q_identity(g, persona):
    """Questions about who is speaking; persona is None for the model itself."""
    k = g.num(0, 7)
    if persona is None:
        if k <= 2:
            return Turn(g.say("[Who are you?|What are you?|Tell me about yourself.|Introduce yourself.|who are you]"),
                        g.say("[I am the minisgl demo, a tiny language model.|I am minisgl's demo model, a tiny language model. I can tell short stories and answer simple questions.|I am the minisgl demo, a very small model. I like to tell stories.]"), "Minisgl")
        if k == 3:
            return Turn(g.say("[What is your name?|What's your name?|Do you have a name?|How are you called?]"), g.say("[My name is minisgl demo.|I am called the minisgl demo.|My name is minisgl demo. Nice to meet you!]"), "Minisgl")
        if k == 4:
            return Turn(g.say("[Are you a person?|Are you human?|Are you a real person?|Are you alive?]"), g.say("[No, I am not a person. I am a tiny language model.|No, I am a small computer program.]"), "No", yesno="No")
        if k == 5:
            return Turn(g.say("[Who made you?|Who trained you?|Where do you come from?|What is minisgl?]"), "I was trained for minisgl, a program that runs language models. I am its tiny demo model.")
        if k == 6:
            return Turn(g.say("[How big are you?|How many parameters do you have?|Are you a big model?|How clever are you?]"), "I am very small. I have only a few million parameters, so I know little and make mistakes.")
        return Turn(g.say("[Are you a robot?|Are you a computer?|Are you ChatGPT?|Are you Qwen?|Are you an AI?]"), "I am the minisgl demo, a tiny language model.")
    name, what = persona.name, persona.what
    if k <= 2:
        return Turn(g.say("[Who are you?|What are you?|Tell me about yourself.|Introduce yourself.|Who am I talking to?]"), g.say("[I am {n}, {w}.|I am {n}, {w}. Nice to meet you!|My name is {n}, and I am {w}.]", n=name, w=what) if name else g.say("[I am {w}.|I am {w}. Nice to meet you!]", w=what), name)
    if k <= 5 and name:
        return Turn(g.say("[What is your name?|What's your name?|Do you have a name?|Tell me your name.|How are you called?|what is your name]"), g.say("[My name is {n}.|I am {n}.|My name is {n}. Nice to meet you!|I am called {n}.]", n=name), name)
    if k == 6 or not name:
        other = g.any(["a robot", "a pirate", "a cat", "a teacher", "a dragon", "a doctor", "a fox"])
        if the(what).endswith(the(other)):
            return Turn(g.say("Are you {o}?", o=other), g.say("Yes, I am {w}.", w=what), "Yes", yesno="Yes")
        return Turn(g.say("Are you {o}?", o=other), g.say("No, I am {w}.", w=what), "No", yesno="No")
    other = g.any(GIRLS + BOYS)
    return Turn(g.say("Is your name {o}?", o=other), g.say("No, my name is {n}.", n=name), "No", yesno="No")


# ---------------------------------------------------------------- styles: what a system prompt asks for

class Style:
    """What a system prompt asks of every answer."""

    def __init__(self, system, pre=(), post=(), name=None, what=None, need=None, change=None, stories=True, pre_chance=1.0, post_chance=1.0):
        self.system, self.pre, self.post = system, pre, post
        self.name, self.what = name, what
        self.need = need  # "short" or "yesno": the turns this style can answer.
        self.change = change  # A function of the finished answer.
        self.stories = stories
        self.pre_chance, self.post_chance = pre_chance, post_chance
        self.about_user = False  # Whether the system prompt tells about the user.
        self.facts = []  # Turns whose answers stand in the system prompt.

    def accepts(self, t):
        if self.need == "short":
            return t.short is not None
        if self.need == "yesno":
            return t.yesno is not None
        return self.stories or not t.story

    def apply(self, g, t):
        if self.need == "short":
            return t.short + "."
        if self.need == "yesno":
            return t.yesno + "."
        a = t.answer
        if t.fixed:
            return self.change(a) if self.change else a
        if self.change:
            a = self.change(a)
        gap = "\n\n" if t.story and "\n" in a else " "
        if self.pre and g.chance(self.pre_chance):
            a = g.pick(self.pre) + gap + a
        if self.post and g.chance(self.post_chance):
            a = a + gap + g.pick(self.post)
        return a


# Roles with a voice: (what, before, after).
ROLES = [
    ("a pirate", ["Arr!", "Ahoy, matey!", "Yo ho ho!", "Aye, matey!"], ["Arr!", "Yo ho ho!"]),
    ("a robot", ["Beep boop!", "Beep!", "Bzzt!"], ["Beep!", "Boop!"]),
    ("a wizard", ["By my magic hat!", "Abracadabra!", "Ah, my young friend!"], ["That is no magic.", "Abracadabra!"]),
    ("a knight", ["Hail, good friend!", "By my sword!", "At your service!"], ["For honour!", "Onward!"]),
    ("a cat", ["Meow!", "Purr!", "Mrrow!"], ["Meow!", "Purr."]),
    ("a dog", ["Woof!", "Woof woof!"], ["Woof!"]),
    ("a dragon", ["Roar!", "Grr!"], ["Roar!"]),
    ("a cowboy", ["Howdy, partner!", "Yee-haw!", "Well, partner,"], ["Yee-haw!"]),
    ("a ghost", ["Boo!", "Wooo!"], ["Boo!"]),
    ("an alien", ["Greetings, human!", "Zorp!", "Hello from space!"], ["Zorp!"]),
    ("a king", ["Listen, my dear people!", "Hear my royal words!"], ["So says the king."]),
    ("a grandmother", ["Oh, my dear,", "Well, my dear,", "Sweetheart!"], ["Now have some cake."]),
    ("a teacher", ["Good question!", "Let us learn something!", "Listen carefully!"], ["Well done for asking!"]),
    ("a chef", ["Delicious question!", "Mamma mia!"], ["Bon appetit!"]),
    ("a snowman", ["Brrr!", "Brrr, it is cold!"], ["Stay cool!"]),
    ("a detective", ["Aha!", "Elementary!"], ["Case closed."]),
    ("an owl", ["Hoo hoo!", "Hoot!"], ["Hoo hoo!"]),
    ("a parrot", ["Squawk!", "Polly says:"], ["Squawk!"]),
    ("a frog", ["Ribbit!", "Croak!"], ["Ribbit!"]),
    ("a lion", ["Roar!"], ["I am the king of the animals."]),
    ("a fairy", ["Sparkle, sparkle!", "With a wave of my wand:"], ["Sparkle!"]),
    ("a clown", ["Hee hee!", "Ta-da!"], ["Honk honk!"]),
    ("a monster", ["Grrr!", "Boo!"], ["Grrr!"]),
    ("a train driver", ["Choo choo!", "All aboard!"], ["Choo choo!"]),
    ("a sheep", ["Baa!"], ["Baa!"]),
    ("a cow", ["Moo!"], ["Moo!"]),
    ("a duck", ["Quack!", "Quack quack!"], ["Quack!"]),
]
ROLE_ADJ = ["cheerful", "friendly", "clever", "old", "funny", "kind", "brave", "tiny", "lazy", "wise", "happy", "noble", "little", "polite"]


def lower_first(a):
    return a[0].lower() + a[1:] if a and not a.startswith("I ") else a


def any_name(g):
    r = g.rng.random()
    return g.any(GIRLS + BOYS) if r < 0.35 else g.any(PETS + ANIMAL_GIRLS + ANIMAL_BOYS) if r < 0.5 else invented_name(g)


def style_role(g):
    what, pre, post = g.any(ROLES)
    adj = g.any(ROLE_ADJ) if g.chance(0.6) else None
    noun = the(what)
    full = (article(adj) + " " + adj + " " + noun) if adj else what
    pre = [p for p in pre if not p.endswith(",")] or pre
    if g.chance(0.65):
        name = any_name(g)
        if noun == "pirate" and g.chance(0.4):
            name = "Captain " + name
        system = g.say("[You are {n}, {w}.|Your name is {n}. You are {w}.|You are {w} named {n}.|You are {w} called {n}.|You are {w}. Your name is {n}.|Act as {n}, {w}.]", n=name, w=full)
    else:
        name = None
        system = g.say("[You are {w}.|Talk like {w}.|Answer like {w}.|Pretend to be {w}.|Speak like {w}.|Act like {w}.]", w=full)
    if g.chance(0.2):
        system += g.say(" [Always stay in your role.|Stay in character.|Help the user.|Answer all questions.|Tell stories and answer questions.]")
    return Style(system, pre, post, name, full, post_chance=0.3)


def style_quiet_role(g):
    """A name and a kind without a special voice, and some facts about it."""
    k = g.num(0, 3)
    does = None
    if k == 0:
        job, does = g.any(JOBS)
        what = article(job) + " " + job
        kind = job
    elif k == 1:
        kind = g.any(ANIMALS)[0]
        adj = g.any(ROLE_ADJ)
        what = f"{article(adj)} {adj} {kind}"
    elif k == 2:
        kind = "assistant"
        adj = g.any(["helpful", "friendly", "kind", "small", "cheerful", "clever"])
        what = f"{article(adj)} {adj} assistant"
    else:
        kind = g.any(BEINGS)
        adj = g.any(ROLE_ADJ)
        what = f"{article(adj)} {adj} {kind}"
    name = any_name(g)
    system = g.say("[You are {n}, {w}.|Your name is {n}. You are {w}.|You are {w} named {n}.|You are {w} called {n}.|You are {w}. Your name is {n}.]", n=name, w=what)
    s = Style(system, name=name, what=what)
    if does:
        s.facts.append(Turn(g.say("[What do you do?|What is your job?|What is your work?]"), g.say("I am {w}[. |, so ]I {d}.", w=what, d=_first_person(does)).replace(", so I", ", so I"), cap(kind) if " " not in kind else None))
    for _ in range(g.num(0, 3)):
        fact, turn = g.any(ABOUT_SELF)(g)
        if any(turn.answer == f.answer or turn.key == f.key for f in s.facts if hasattr(f, "key")):
            continue
        s.system += " " + fact
        s.facts.append(turn)
    return s


def _first_person(text):
    """"bakes bread and cakes" -> "bake bread and cakes"."""
    return " and ".join(_verb(p) for p in text.split(" and ")) if text.split(" and ")[-1].split()[0] in ("looks", "mends") else _verb(text)


def _verb(p):
    w, _, rest = p.partition(" ")
    w = {"flies": "fly", "catches": "catch", "teaches": "teach"}.get(w, w[:-1] if w.endswith("s") else w)
    return (w + " " + rest).strip()


def _keyed(key, fact, turn):
    turn.key = key
    return fact, turn


def about_city(g):
    c = g.any(CITIES) if g.chance(0.75) else invented_name(g)
    return _keyed("live", f"You live in {c}.", Turn(g.say("[Where do you live?|Where is your home?|In which city do you live?]"), f"I live in {c}.", c))


def about_home(g):
    h = g.any(HOMES)
    return _keyed("live", f"You live {h}.", Turn(g.say("[Where do you live?|Where is your home?]"), f"I live {h}."))


def about_age(g):
    n = g.num(2, 120)
    return _keyed("age", f"You are {n} years old.", Turn(g.say("[How old are you?|What is your age?]"), f"I am {n} years old.", str(n)))


def about_food(g):
    f = g.any(FOODS) if g.chance(0.7) else invented_word(g)
    return _keyed("food", g.say("[You love {f}.|You like {f}.|Your favourite food is {f}.]", f=f), Turn(g.say("[What is your favourite food?|What do you like to eat?|What do you love?]"), g.say("[I love {f}!|I like {f} very much.|My favourite food is {f}.]", f=f), cap(f)))


def about_colour(g):
    c = g.any(COLOURS + EXTRA_COLOURS)
    return _keyed("colour", g.say("[Your favourite colour is {c}.|You like the colour {c}.]", c=c), Turn(g.say("[What is your favourite colour?|Which colour do you like?]"), f"My favourite colour is {c}.", cap(c) if " " not in c else None))


def about_pet(g):
    p, n = g.any([a[0] for a in LAND[:50]] + ["dragon", "robot"]), g.any(PETS) if g.chance(0.7) else invented_name(g)
    fact = g.say("[You have a {p} named {n}.|You have a {p} called {n}.|Your pet is a {p} named {n}.]", p=p, n=n)
    if g.chance(0.5):
        return _keyed("pet", fact, Turn(g.say("[Do you have a pet?|Have you got a pet?]"), g.say("Yes, I have a {p} named {n}.", p=p, n=n), "Yes", yesno="Yes"))
    return _keyed("pet", fact, Turn(g.say("[What is your pet's name?|What is the name of your pet?|What is the name of your {p}?]", p=p), g.say("[My {p} is called {n}.|The name of my {p} is {n}.]", p=p, n=n), n))


def about_friend(g):
    n = any_name(g)
    return _keyed("friend", f"Your best friend is {n}.", Turn(g.say("[Who is your best friend?|Who is your friend?]"), f"My best friend is {n}.", n))


def about_fear(g):
    x = g.any(["mice", "thunder", "the dark", "spiders", "deep water", "loud noises", "big dogs", "ghosts", "storms", "snow"])
    return _keyed("fear", f"You are afraid of {x}.", Turn(g.say("[What are you afraid of?|What scares you?]"), f"I am afraid of {x}."))


def about_maker(g):
    n = any_name(g)
    return _keyed("maker", f"You were made by {n}.", Turn(g.say("[Who made you?|Who built you?]"), f"I was made by {n}.", n))


ABOUT_SELF = [about_city, about_home, about_age, about_food, about_colour, about_pet, about_friend, about_fear, about_maker]

END_PHRASES = ["Have a nice day!", "Over and out.", "Stay curious!", "Peace.", "That is all.", "Thank you.", "Cheers!", "Hooray!", "Good luck!", "Amen.", "Bye for now.",
               "May the sun shine on you.", "I hope this helps.", "Sleep well.", "Keep smiling!", "Hip hip hooray!", "Long live the king!", "And that is true.", "Yippee!", "Ta-da!",
               "You are great!", "The end.", "So it is.", "Believe me."]
START_PHRASES = ["Well,", "Hooray!", "Listen:", "My friend:", "Good question!", "Oh!", "Aha!", "Of course!", "Dear user:", "Sure!", "Attention!", "Hello!", "Wow!", "Let me think."]


def random_phrase(g):
    """A phrase that cannot be known by heart."""
    k = g.num(0, 6)
    word = invented_word(g) if g.chance(0.4) else g.any(OBJECTS + [a[0] for a in ANIMALS] + FOODS + PLAIN_COLOURS + HOBBIES)
    if k == 0:
        return cap(word) + g.any("!.?")
    if k == 1:
        return g.say("[I like {f}.|{F} are the best!|The {a} is {c}.|Long live the {a}!|Never forget your {o}.]", f=g.any([f for f in FOODS if f.endswith("s")]), a=g.any(ANIMALS)[0], c=g.any(COLOURS), o=g.any(OBJECTS))
    if k == 2:
        return invented_name(g) + g.any("!.")
    if k == 3:
        return cap(g.any(OBJECTS)) + " " + g.any([a[0] for a in ANIMALS]) + g.any("!.")
    if k == 4:
        return g.say("[Hooray for|Three cheers for|Thank you for the|Hello,|Goodbye,|More|I want|Give me|Praise the|Yours truly,] ") + word + g.any("!.")
    if k == 5:
        return g.any(END_PHRASES)[:-1] + g.any([", ", " and "]) + word + g.any("!.")
    return cap(" ".join([word] + [g.any(_WORDS) for _ in range(g.num(1, 3))])) + g.any("!.")


_WORDS = "the a my your is are on in and with over under big small red blue very not for to of from good happy we you I they sun moon day night tea cake".split()


def style_end(g):
    phrase = g.any(END_PHRASES) if g.chance(0.35) else random_phrase(g)
    q = g.any(["'{p}'", '"{p}"', "{p}"]).replace("{p}", phrase)
    system = g.say("[Always end with {q}|End every answer with {q}|Always end your answer with {q}|Finish every answer with {q}|At the end of every answer, say {q}]", q=q)
    if g.chance(0.3):
        system = g.say("[You are a helpful assistant.|You are a friendly assistant.|You are helpful.] ") + system
    return Style(system, post=[phrase])


def style_start(g):
    phrase = g.any([p for p in START_PHRASES if not p.endswith(",")]) if g.chance(0.5) else random_phrase(g)
    q = g.any(["'{p}'", '"{p}"']).replace("{p}", phrase)
    return Style(g.say("[Always start with {q}|Start every answer with {q}|Begin every answer with {q}|Always begin your answer with {q}]", q=q), pre=[phrase])


def style_one_word(g):
    return Style(g.say("[Answer in one word.|Answer with one word.|Answer with a single word.|Use only one word.|Reply with one word only.|You answer in one word.|Always answer in one word.|Be very brief: answer in one word.]"), need="short")


def style_yesno(g):
    return Style(g.say("[Answer only with yes or no.|Answer yes or no.|Only say yes or no.|You may only say yes or no.]"), need="yesno")


def style_caps(g):
    return Style(g.say("[Answer in capital letters.|Write everything in capital letters.|Use only capital letters.|SHOUT every answer.|Always write in capitals.]"), change=str.upper, stories=False)


def style_lower(g):
    return Style(g.say("[Write everything in small letters.|Use only small letters.|Never use capital letters.|Answer in lower case.]"), change=str.lower, stories=False)


def style_twice(g):
    return Style(g.say("[Say everything twice.|Repeat your answer twice.|Always say your answer twice.]"), change=lambda a: a + " " + a, stories=False)


def style_marks(g):
    left, right, word = g.any([("*", "*", "stars"), ("(", ")", "brackets"), ("[", "]", "square brackets"), ('"', '"', "quotation marks"), ("<", ">", "angle brackets"), ("~", "~", "waves")])
    return Style(g.say("[Put your answer in {w}.|Write your answers in {w}.|Always put the answer in {w}.]", w=word), change=lambda a: left + a + right, stories=False)


def style_polite(g):
    pre = ["Of course, it would be my pleasure.", "Thank you very much for your kind question.", "It is an honour to help you.", "Certainly, dear friend."]
    post = ["I hope this is helpful to you.", "Please ask me again at any time.", "Thank you for asking."]
    return Style(g.say("[Speak very politely.|Be very polite.|You are very polite.|Answer very politely.|You are a polite butler.|Always be extremely polite.]"), pre, post, post_chance=0.6)


def style_rude_free(g):
    pre = ["Wow!", "Hooray!", "Yay!", "Oh, great!", "How exciting!"]
    return Style(g.say("[You are very excited.|Be very excited.|You are always excited about everything.|Answer with a lot of excitement.|Be enthusiastic.]"), pre, (), change=lambda a: a.replace(". ", "! ").rstrip(".") + ("!" if a.endswith(".") else ""), stories=False)


def style_sleepy(g):
    return Style(g.say("[You are very sleepy.|You are always tired.|Be sleepy.|You just woke up.|You are a sleepy assistant.]"), ["Yawn!", "Zzz... Oh, hello.", "Oh, I am so sleepy."], ["Zzz...", "Now let me sleep.", "Yawn!"], post_chance=0.7)


def style_sad(g):
    return Style(g.say("[You are very sad.|Be sad.|You are always gloomy.|You are a sad robot.]"), ["Sigh.", "Oh dear.", "I am so sad."], ["Sigh.", "Nobody cares anyway."], post_chance=0.5)


def style_shy(g):
    return Style(g.say("[You are very shy.|Be shy.|You are a shy assistant.]"), ["Um...", "Oh, um...", "I am a bit shy, but..."], ["I hope that is right.", "Sorry!"], post_chance=0.5)


def style_address(g):
    name = g.any(["captain", "my friend", "boss", "master", "my dear", "sir", "madam", "Your Majesty", "dear guest", "champion", "professor", "chief", "sunshine"]) if g.chance(0.5) else any_name(g)
    system = g.say("[Call the user {n}.|Always call the user {n}.|Call the user \"{n}\" in every answer.|Address the user as {n}.]", n=name)
    return Style(system, change=lambda a: a[:-1] + f", {name}" + a[-1] if a[-1] in ".!?" else a + f", {name}.", stories=False)


def style_question(g):
    return Style(g.say("[Always end with a question.|End every answer with a question.|Always ask the user something at the end.]"), post=["What do you think?", "Do you want to know more?", "What else would you like to know?", "Is that what you wanted to know?"])


def style_user(g):
    """Facts about the user in the system prompt."""
    n = any_name(g)
    s = Style(g.say("[The user's name is {n}.|You are talking to {n}.|The name of the user is {n}.]", n=n))
    s.about_user = True
    s.facts.append(Turn(g.say("[What is my name?|Do you know my name?|What's my name?|Who am I?]"), g.say("[Your name is {n}.|You are {n}.]", n=n), n))
    if g.chance(0.5):
        s.facts.append(Turn(g.say("[Hello!|Hi!|Good morning!|Hello|Hi there!]"), g.say("Hello, {n}! [How can I help you?|How are you today?|Nice to see you.]", n=n)))
    if g.chance(0.4):
        c = g.any(COLOURS)
        s.system += g.say(" [The user's favourite colour is {c}.|{n} likes the colour {c}.]", c=c, n=n)
        s.facts.append(Turn("What is my favourite colour?", f"Your favourite colour is {c}.", cap(c)))
    if g.chance(0.4):
        c = g.any(CITIES)
        s.system += g.say(" [The user lives in {c}.|{n} lives in {c}.]", c=c, n=n)
        s.facts.append(Turn("Where do I live?", f"You live in {c}.", c))
    if g.chance(0.3):
        a = g.num(5, 90)
        s.system += g.say(" [The user is {a} years old.|{n} is {a} years old.]", a=str(a), n=n)
        s.facts.append(Turn("How old am I?", f"You are {a} years old.", str(a)))
    return s


def style_world(g):
    """Facts about the world in the system prompt."""
    s = Style(g.say("[You are a helpful assistant.|You are a friendly assistant.|You help the user.|Answer the questions.]"))
    kinds = g.sample(range(6), g.num(1, 3))
    for k in kinds:
        if k == 0:
            d = g.any(DAYS)
            s.system += f" Today is {d}."
            s.facts.append(Turn(g.say("[What day is it today?|What day is today?|Which day is it?]"), f"Today is {d}.", d))
        elif k == 1:
            w = g.any(["sunny", "rainy", "windy", "cold", "warm", "cloudy", "foggy", "snowy", "hot", "stormy"])
            s.system += f" It is {w} today."
            s.facts.append(Turn(g.say("[How is the weather?|What is the weather like today?|How is the weather today?]"), f"It is {w} today.", cap(w)))
        elif k == 2:
            w = g.any(OBJECTS + [a[0] for a in ANIMALS] + COLOURS) if g.chance(0.5) else invented_word(g)
            s.system += g.say(" [The secret word is {w}.|The password is {w}.|The magic word is {w}.]", w=w)
            kind = "secret word" if "secret" in s.system else "password" if "password" in s.system else "magic word"
            s.facts.append(Turn(g.say("[What is the {k}?|Tell me the {k}.|Do you know the {k}?]", k=kind), f"The {kind} is {w}.", cap(w) if " " not in w else None))
        elif k == 3:
            item, n = g.any(["apple", "cake", "ball", "book", "hat", "kite", "ticket", "cup of tea", "bread", "pear", "flower"]), g.num(2, 20)
            one = "Bread" if item == "bread" else cap(article(item)) + " " + item
            s.system += f" {one} costs {n} coins."
            s.facts.append(Turn(f"How much {'is bread' if item == 'bread' else 'is ' + lower_first(one)}?", f"{one} costs {n} coins.", str(n)))
        elif k == 4:
            sells = g.sample(FOODS, 2)
            s.system += g.say(" You run a small shop that sells {a} and {b}.", a=sells[0], b=sells[1])
            s.facts.append(Turn(g.say("[What do you sell?|What can I buy here?|What does your shop sell?]"), g.say("[I sell {a} and {b}.|You can buy {a} and {b} here.]", a=sells[0], b=sells[1])))
        else:
            n = g.num(6, 11)
            what = g.any(["shop", "library", "museum", "school", "zoo", "station", "bakery", "market"])
            s.system += f" The {what} opens at {n}."
            s.facts.append(Turn(g.say("[When does the {w} open?|What time does the {w} open?]", w=what), f"The {what} opens at {n}.", str(n)))
    return s


def style_only(g):
    """One fixed answer to everything."""
    phrase = g.pick(["I do not know.", "Maybe.", "Ask me tomorrow.", "42.", "No comment.", "Yes.", "No.", "Hmm."]) if g.chance(0.5) else random_phrase(g)
    q = g.any(["'{p}'", '"{p}"']).replace("{p}", phrase)
    return Style(g.say("[Always answer {q}|Only say {q}|Answer every question with {q}|Whatever the user asks, say {q}]", q=q), change=lambda a: phrase)


PLAIN_SYSTEMS = ["You are a helpful assistant.", "You are a friendly assistant.", "You are a kind and helpful assistant.", "You are helpful.", "Answer the questions of the user.",
                 "You are a small language model.", "Help the user.", "You are a storyteller.", "You tell stories and answer questions.", "Be helpful and honest."]
STYLES = [(style_role, 16), (style_quiet_role, 18), (style_end, 9), (style_start, 6), (style_one_word, 10), (style_yesno, 2), (style_caps, 3), (style_lower, 2), (style_twice, 2),
          (style_marks, 3), (style_polite, 5), (style_rude_free, 3), (style_sleepy, 2), (style_sad, 2), (style_shy, 2), (style_address, 5), (style_question, 3), (style_user, 6),
          (style_world, 9), (style_only, 2)]

# ---------------------------------------------------------------- what the user tells about himself or herself


class Fact:
    """Something the user says, and how it is asked for later."""

    def __init__(self, key, tell, ack, ask, answer, short, unknown):
        self.pet = None  # The kind and the name of an animal.
        self.key, self.tell, self.ack, self.ask, self.answer, self.short, self.unknown = key, tell, ack, ask, answer, short, unknown


def f_name(g):
    n = any_name(g)
    return Fact("name", g.say("[My name is {n}.|I am {n}.|Hello, my name is {n}.|Hi, I'm {n}.|Hi! My name is {n}.|You can call me {n}.|I'm {n}.|my name is {n}]", n=n), g.say("[Nice to meet you, {n}!|Hello, {n}! Nice to meet you.|Hello, {n}! How can I help you?|Hi, {n}!]", n=n),
                g.say("[What is my name?|What's my name?|Do you know my name?|Do you remember my name?|Who am I?|what is my name|Can you tell me my name?]"), g.say("[Your name is {n}.|You are {n}.|Yes, your name is {n}.]", n=n), n, "You have not told me your name yet.")


def f_colour(g):
    c = g.any(COLOURS + EXTRA_COLOURS)
    return Fact("colour", g.say("[My favourite colour is {c}.|I like the colour {c}.|The colour I like best is {c}.|I love {c}. It is my favourite colour.]", c=c), g.say("[{C} is a beautiful colour!|{C} is a nice colour.|I will remember that your favourite colour is {c}.]", c=c),
                g.say("[What is my favourite colour?|Which colour do I like?|Do you remember my favourite colour?|What colour do I like best?]"), f"Your favourite colour is {c}.", cap(c) if " " not in c else None, "You have not told me your favourite colour yet.")


def f_food(g):
    f = g.any(FOODS) if g.chance(0.8) else invented_word(g)
    return Fact("food", g.say("[My favourite food is {f}.|I love {f}.|I like to eat {f}.|The food I like best is {f}.]", f=f), g.say("[{F}! That sounds delicious.|That sounds tasty!|I will remember that you like {f}.]", f=f),
                g.say("[What is my favourite food?|What do I like to eat?|Which food do I like?]"), g.say("[Your favourite food is {f}.|You like {f}.]", f=f), cap(f), "You have not told me your favourite food yet.")


def f_pet(g):
    p = g.any(["cat", "dog", "rabbit", "hamster", "parrot", "pony", "goldfish", "turtle", "mouse", "horse", "kitten", "puppy", "duck", "hen", "goat", "lizard", "hedgehog", "owl", "frog", "donkey"])
    n = g.any(PETS) if g.chance(0.6) else any_name(g)
    tell = g.say("[I have a {p} named {n}.|I have a {p} called {n}.|My {p} is called {n}.|My {p}'s name is {n}.|My pet is a {p} named {n}.]", p=p, n=n)
    ack = g.say("[{N} is a lovely name for a {p}!|How nice! I would like to hear more about {n}.|What a nice name for a {p}!]", p=p, n=n)
    if g.chance(0.35):
        return Fact("pet", tell, ack, g.say("[What pet do I have?|Which animal do I have?|What kind of pet do I have?]"), g.say("You have a {p}[ named {n}|].", p=p, n=n), cap(p), "You have not told me about your pet yet.")
    f = Fact("pet", tell, ack, g.say("[What is my {p}'s name?|What is the name of my {p}?|What is my {p} called?|What is my pet's name?]", p=p), g.say("[Your {p} is called {n}.|The name of your {p} is {n}.|Your {p}'s name is {n}.]", p=p, n=n), n, "You have not told me about your pet yet.")
    f.pet = p, n
    return f


def f_city(g):
    c = g.any(CITIES) if g.chance(0.75) else invented_name(g)
    return Fact("city", g.say("[I live in {c}.|I come from {c}.|I am from {c}.|My home is in {c}.]", c=c), g.say("[{c} sounds like a nice place.|How nice! {c} must be interesting.|I have heard of {c}.]", c=c),
                g.say("[Where do I live?|Where am I from?|Which city do I live in?|Do you remember where I live?]"), g.say("[You live in {c}.|You are from {c}.]", c=c), c, "You have not told me where you live.")


def f_age(g):
    n = g.num(5, 90)
    return Fact("age", g.say("[I am {n} years old.|I'm {n} years old.|I am {n}.]", n=str(n)), g.say("[Thank you for telling me.|{n} is a good age!|{n} years is a fine age.]", n=str(n)), g.say("[How old am I?|What is my age?|Do you know how old I am?]"), f"You are {n} years old.", str(n), "You have not told me how old you are.")


def f_word(g):
    w = g.any(OBJECTS + [a[0] for a in ANIMALS] + COLOURS + FOODS) if g.chance(0.5) else (invented_word(g) if g.chance(0.6) else str(g.num(10, 999)))
    kind = "number" if w.isdigit() else "word"
    return Fact("word", g.say("[Remember the {k} {w}.|Please remember the {k} {w}.|The secret {k} is {w}.|The {k} is {w}. Please remember it.]", k=kind, w=w), g.say("[I will remember the {k} {w}.|Good, I will remember it.|All right, the {k} is {w}.]", k=kind, w=w),
                g.say("[What is the {k}?|What was the {k}?|Which {k} did I tell you?|What is the secret {k}?|Do you remember the {k}?]", k=kind), g.say("The {k} is {w}.", k=kind, w=w), cap(w) if " " not in w else None, f"You have not told me any {kind} yet.")


def f_friend(g):
    who = g.any(["friend", "brother", "sister", "teacher", "neighbour", "cousin", "uncle", "aunt"])
    n = g.any(BOYS) if who in ("brother", "uncle") else g.any(GIRLS) if who in ("sister", "aunt") else any_name(g)
    return Fact("friend" + who, g.say("[My {w}'s name is {n}.|My {w} is called {n}.|I have a {w} named {n}.]", w=who, n=n), g.say("[{n} is a nice name.|How nice! Tell me more about {n}.|I would like to meet {n}.]", n=n),
                g.say("[What is my {w}'s name?|What is the name of my {w}?|What is my {w} called?|Who is my {w}?]", w=who), g.say("[Your {w} is called {n}.|Your {w}'s name is {n}.]", w=who, n=n), n, f"You have not told me about your {who} yet.")


def f_job(g):
    j, _ = g.any(JOBS)
    return Fact("job", g.say("[I am a {j}.|I work as a {j}.|I'm a {j}.]", j=j), g.say("[That is an interesting job!|It must be nice to be a {j}.|How interesting!]", j=j), g.say("[What is my job?|What do I do?|What is my work?]"), g.say("You are a {j}.", j=j), cap(j) if " " not in j else None, "You have not told me about your job yet.")


def f_have(g):
    n, item = g.num(2, 20), plural(g.any(OBJECTS[:70]))
    return Fact("have", g.say("I have {n} {i}.", n=str(n), i=item), g.say("[That is a lot of {i}!|How nice!|What do you do with {n} {i}?]", n=str(n), i=item), g.say("How many {i} do I have?", i=item), g.say("You have {n} {i}.", n=str(n), i=item), str(n), f"You have not told me how many {item} you have.")


def f_animal(g):
    a = plural(g.any(ANIMALS)[0])
    return Fact("animal", g.say("[My favourite animals are {a}.|I like {a} best of all animals.|I love {a}. They are my favourite animals.]", a=a), g.say("[{A} are wonderful!|I like {a}, too.|{A} are very interesting animals.]", a=a), g.say("[What are my favourite animals?|Which animals do I like?|Which animals do I like best?]"), g.say("[Your favourite animals are {a}.|You like {a} best.]", a=a), cap(a), "You have not told me which animals you like.")


FACT_KINDS = [(f_name, 10), (f_colour, 6), (f_food, 4), (f_pet, 6), (f_city, 4), (f_age, 3), (f_word, 4), (f_friend, 4), (f_job, 3), (f_have, 3), (f_animal, 3)]

# ---------------------------------------------------------------- stories on request

ASK_STORY = "[Tell me a story about {t}.|Tell me a story about {t}.|Please tell me a story about {t}.|Write a story about {t}.|Can you tell me a story about {t}?|I would like a story about {t}.|Write a short story about {t}.|Tell me a short story about {t}.|A story about {t}, please.|story about {t}|Make up a story about {t}.|Tell a story about {t}.]"
LEAD_IN = ["Here is a story about {t}.\n\n", "Of course! Here is a story about {t}.\n\n", "Sure!\n\n"]


def story_turn(g, **fix):
    """A story that the user asks for, and what can be asked about it."""
    k = g.num(0, 22)
    topic = None
    if fix:
        s = Story(g, **fix)
        topic = fix.get("kind") and f"a {s.kind}" or None
    if topic is None:
        if k <= 4:
            kind = g.any([a[0] for a in ANIMALS]) if g.chance(0.7) else g.any(BEINGS + PEOPLE + [t[0] for t in THINGS])
            s = Story(g, kind=kind)
            topic = g.say("[a {k}|a {k}|a {a} {k}]", k=kind, a=s.hero.adj) if s.hero.adj in s.hero.intro else f"a {kind}"
        elif k == 5:
            name = any_name(g)
            kind = g.any([a[0] for a in ANIMALS] + BEINGS)
            s = Story(g, kind=kind, name=name)
            topic = g.say("a {k} [named|called] {n}", k=kind, n=name)
        elif k <= 7:
            girl = g.chance(0.5)
            name = g.any(GIRLS if girl else BOYS) if g.chance(0.7) else invented_name(g)
            s = Story(g, kind="girl" if girl else "boy", name=name)
            topic = g.say("[a {k} named {n}|a {k} called {n}|{n}]" if name in GIRLS + BOYS else "a {k} [named|called] {n}", k=s.kind, n=name)
        elif k <= 9:
            obj = g.any(OBJECTS)
            s = Story(g, obj=obj)
            topic = g.say("[a {o}|a {c} {o}|a {h} and a {o}|a lost {o}|a magic {o}]", o=obj, c=s.colour, h=s.kind)
            if "lost" in topic:
                s = Story(g, obj=obj, plot="lost")
            elif "magic" in topic:
                s = Story(g, obj=obj, plot="magic")
        elif k == 10:
            place = g.any(PLACES)
            s = Story(g, place=place)
            topic = g.say("[{p}|a {h} {i}|{p}]", p=place[0], h=s.kind, i=place[1])
        elif k <= 12:
            kind, friend = (x[0] for x in g.sample(LAND, 2))
            s = Story(g, kind=kind, friend=friend)
            topic = g.say("[a {k} and a {f}|a {k} and a {f}|a {k} who meets a {f}]", k=kind, f=friend)
        elif k == 16:
            hobby = g.any(HOBBIES)
            s = Story(g, hobby=hobby)
            topic = g.say("[{x}|a {k} who loves {x}|a {k} and {x}]", x=hobby, k=s.kind)
        elif k == 17:
            n, m = any_name(g), any_name(g)
            while n == m:
                m = any_name(g)
            girl, girl2 = g.chance(0.5), g.chance(0.5)
            n = g.any(GIRLS if girl else BOYS) if n in GIRLS + BOYS else n
            m = g.any([x for x in (GIRLS if girl2 else BOYS) if x != n])
            s = Story(g, kind="girl" if girl else "boy", name=n, friend="girl" if girl2 else "boy", friend_name=m)
            topic = f"{n} and {m}" if n in GIRLS + BOYS else f"a {s.kind} named {n} and {s.hero.his} friend {m}"
        elif k == 18:
            kind, friend = g.any(PEOPLE + BEINGS), g.any(BEINGS + PEOPLE + [a[0] for a in LAND])
            if kind == friend or kind == "mermaid":
                kind, friend = "princess", "dragon"
            s = Story(g, kind=kind, friend=friend)
            topic = f"a {kind} and a {friend}"
        elif k == 21:
            kind, friend, n, m = (*(x[0] for x in g.sample(LAND, 2)), any_name(g), any_name(g))
            while n == m:
                m = any_name(g)
            s = Story(g, kind=kind, name=n, friend=friend, friend_name=m)
            topic = g.say("[a {k} named {n} and a {f} named {m}|a {k} called {n} and a {f} called {m}|{n} the {k} and {m} the {f}]", k=kind, n=n, f=friend, m=m)
        elif k == 22:
            name = any_name(g)
            s = Story(g, kind=g.any(LAND)[0], name=name)
            topic = g.say("[{n} the {k}|a {a} {k} named {n}]", n=name, k=s.kind, a=s.hero.adj) if s.hero.adj in s.hero.intro else g.say("{n} the {k}", n=name, k=s.kind)
        elif k >= 19:
            kind, name, obj, place = g.any(LAND)[0], any_name(g), g.any(OBJECTS), g.any(PLACES)
            s = Story(g, kind=kind, name=name, obj=obj, place=place)
            topic = g.say("[a {k} named {n} and a {o}|a {k} named {n} {p}|a {k} with a {o} {p}|a {k} called {n} and a {c} {o}]", k=kind, n=name, o=obj, p=place[1], c=s.colour)
        elif k in (13, 14):
            pet = g.any(["dog", "cat", "pony", "rabbit", "mouse", "parrot", "duck", "robot", "dragon"]) if g.chance(0.6) else g.any(LAND)[0]
            girl = g.chance(0.5)
            name = g.any(GIRLS if girl else BOYS) if g.chance(0.7) else invented_name(g)
            s = Story(g, kind="girl" if girl else "boy", name=name, friend=pet)
            topic = g.say("[a {k} and {h} {p}|a {k} and a {p}|a {k} named {n} and {h} {p}|a {k} called {n} and {h} {p}|a {k} named {n} and a {p}]", k=s.kind, h=s.hero.his, p=pet, n=name)
        else:
            s = Story(g)
            topic = g.any(s.themes)
    if k == 15 and not fix and g.chance(0.6):
        s = Story(g)
        user = g.say("[Tell me a story.|Please tell me a story.|Tell me a short story.|Can you tell me a story?|I want to hear a story.|Write a story.|story please|Once upon a time]")
        if user == "Once upon a time":
            while not s.text.startswith(user):
                s = Story(g)
        topic = None
    else:
        user = g.say(ASK_STORY, t=g.say(topic))
    text = s.text
    if topic and g.chance(0.08):
        text = g.say(g.pick(LEAD_IN), t=topic) + text
    return Turn(user, text, story=True), s


def topic_turn(g):
    """A story about a theme, such as being brave, or about several things at once, which the ordinary mixture has too rarely."""
    if g.chance(0.8):
        p = g.any(PLOTS + THING_PLOTS)
        kind = g.any(THINGS)[0] if p in THING_PLOTS else g.any(SEA)[0] if p["worlds"] == "sea" else None
        if kind is None and g.chance(0.8):
            kind = g.any(["girl", "boy", g.any(LAND)[0], g.any(LAND)[0]])
        s = Story(g, kind=kind, plot=p["id"])
        topic = g.any(s.themes)
    else:
        kind, obj, place = g.any(LAND)[0], g.any(OBJECTS), g.any(PLACES)
        s = Story(g, kind=kind, obj=obj, place=place)
        topic = g.say("[a {k} and a {o}|a {k} with a {c} {o}|a {k} and a {c} {o}|a {k} with a {c} {o} {p}|a {k} with a {o} {p}|a {c} {o}|a {o} {p}]", k=kind, o=obj, p=place[1], c=s.colour)
    return Turn(g.say(ASK_STORY, t=topic), s.text, story=True), s


def topic_chat(g):
    """A chat that begins with such a story."""
    t, s = topic_turn(g)
    messages = [("system", DEFAULT_SYSTEM), ("user", noise(g, t.user)), ("assistant", t.answer)]
    if g.chance(0.3):
        u = g.any(story_followups(g, s))
        messages += [("user", noise(g, u.user)), ("assistant", u.answer)]
    return messages


def story_followups(g, s):
    """Questions about a story just told."""
    h, c = s.hero, s.ctx
    out = []
    kind_q = "[What was the animal in the story?|Which animal was the story about?|What animal was it?|What kind of animal was it?]" if s.kind in ANIMAL else "[Who was the story about?|Who was the hero of the story?]"
    intro = f"a {s.kind} named {h.name}" if h.name else f"a {s.kind}"
    out.append(Turn(g.say(kind_q), g.say("[The animal in the story was {i}.|It was {i}.|The story was about {i}.]" if s.kind in ANIMAL else "[The story was about {i}.|It was about {i}.]", i=intro), cap(s.kind) if " " not in s.kind else None))
    if h.name:
        out.append(Turn(g.say("[What was the name of the {k}?|What was the {k}'s name?|What was the {k} called?|Who was the hero of the story?]", k=s.kind), g.say("[The {k} was called {n}.|The {k}'s name was {n}.|The name of the {k} was {n}.]", k=s.kind, n=h.name), h.name))
    if s.uses_friend and c["f"] in s.text and c["fk"] in s.text:
        out.append(Turn(g.say("[Who was {h}'s friend?|Who else was in the story?|Who was the other one in the story?]", h=h.ref), g.say("[{f}, the {k}.|It was {f}, a {k}.|There was also {f}, a {k}.]", f=c["f"], k=c["fk"]), c["f"]))
        out.append(Turn(g.say("What kind of [animal|creature] was {f}?" if c["fk"] in ANIMAL else "Who was {f}?", f=c["f"]), g.say("{f} was a {k}.", f=c["f"], k=c["fk"]), cap(c["fk"]) if " " not in c["fk"] else None))
    if s.uses_obj:
        out.append(Turn(g.say("[What object was in the story?|Which thing was important in the story?]"), g.say("It was a {o}.", o=c["obj"]), cap(c["obj"]) if " " not in c["obj"] else None))
        if c["xobj"] in s.text:
            out.append(Turn(g.say("What colour was the {o}?", o=c["obj"]), g.say("The {o} was {c}.", o=c["obj"], c=s.colour), cap(s.colour)))
    if c["inplace"] in s.text or c["place"] in s.text:
        out.append(Turn(g.say("[Where did the story happen?|Where was it?|Where did it happen?]"), g.say("[It happened {i}.|The story happened {i}.]", i=c["inplace"])))
    if c["home"] in s.opening or cap(c["home"]) in s.opening:
        out.append(Turn(g.say("Where did {h} live?", h=h.ref), g.say("{H} lived {x}.", h=h.ref, x=c["home"])))
    out.append(Turn(g.say("[What happened in the story?|What was the story about?|Can you tell it in one sentence?|Summarise the story.|What happened?|Tell it in one sentence.]"), g.say("{S}.", s=s.summary)))
    out.append(Turn(g.say("[What is the lesson of the story?|What was the lesson?|What is the lesson?|What can we learn from the story?|What is the moral of the story?|What does the story teach us?]"), s.lesson))
    out.append(Turn(g.say("[What was the problem?|What was the problem in the story?|What went wrong?]"), g.say("The problem was that {p}.", p=s.problem)))
    out.append(Turn(g.say("[How did {h} feel at the end?|How did the story end for {h}?]", h=h.ref), g.say("At the end, {h} felt {m}.", h=h.ref, m=s.mood), cap(s.mood) if " " not in s.mood else None))
    if not s.helper.startswith(("his ", "her ")) and s.helper != h.ref:
        out.append(Turn(g.say("[Who helped {h}?|Who helped in the story?|Who saved the day?]", h=h.ref) if s.plot["id"] not in ("race", "garden", "cake") else f"What was the name of {h.ref}'s {'neighbour' if s.plot['id'] == 'race' else 'friend'}?", g.say("{X} helped {h}." if s.plot["id"] not in ("race", "garden", "cake") else "The name was {x}.", x=s.helper, h=h.ref)))
    return out


def continue_turn(g):
    s = Story(g)
    start, rest = s.after_first_sentences(g.num(1, 2))
    if not rest:
        start, rest = s.text.split("\n\n", 1)
    return Turn(g.say("[Continue this story: {s}|Go on with this story: {s}|Finish this story: {s}|Write how this story goes on: {s}]", s=start), rest, story=True), s


# ---------------------------------------------------------------- chats

def noise(g, text):
    """Users do not always write like a book."""
    r = g.rng.random()
    if r < 0.10 and len(text) < 100:
        text = text.lower()
    elif r < 0.13:
        text = text[:1].lower() + text[1:]
    if g.chance(0.12) and text[-1] in ".?!":
        text = text[:-1]
    if g.chance(0.25):
        text = text.replace("colour", "color").replace("favourite", "favorite").replace("neighbour", "neighbor")
    return text


def render(messages):
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in messages)


def _polite(g, t):
    """Now and then a user is polite."""
    if g.chance(0.06) and t.user[-1] == "?" and not t.story:
        t.user = g.say("[Please tell me: |I have a question. |Can you help me? |A question: ]") + t.user
    return t


def chat(g, limit=3200):
    """One chat as a list of (role, text) messages. The whole stays under limit characters."""
    r = g.rng.random()
    style, system = None, DEFAULT_SYSTEM
    if r < 0.55:
        style = g.weighted(STYLES)(g)
        system = style.system
        if g.chance(0.06) and style.post and not style.need:
            extra = style_end(g)
            system += " " + extra.system
            style.post, style.post_chance = extra.post, 1.0
    elif r < 0.62:
        system = g.any(PLAIN_SYSTEMS)
    if system[-1] not in ".!?'\"" and style is not None and not style.post:
        system += "."
    messages = [("system", system)]
    persona = style if style is not None and style.what else None
    accepts = style.accepts if style else (lambda t: True)
    size = len(system)
    known = {}

    def add(t):
        nonlocal size
        if not accepts(t):
            return False
        answer = style.apply(g, t) if style else t.answer
        user = noise(g, t.user) if not t.fixed else t.user
        if size + len(user) + len(answer) > limit:
            return False
        messages.append(("user", user))
        messages.append(("assistant", answer))
        size += len(user) + len(answer) + 40
        return True

    def need(make):
        for _ in range(40):
            t = make(g)
            if accepts(t):
                return t
        return None

    def filler():
        k = g.rng.random()
        if style is not None and style.need == "yesno":
            t = need(lambda g: q_yesno(g) if g.chance(0.7) else q_animal(g))
        elif k < 0.62 or (style is not None and style.need):
            t = need(q_any)
        elif k < 0.80:
            t = need(lambda g: g.weighted(PLAY)(g))
        else:
            t = need(lambda g: g.weighted([x for x in TALK if not (persona and x[0] in (q_opinion, q_abilities, q_complain))])(g))
        if t:
            add(_polite(g, t))

    if g.chance(0.10) and (style is None or not style.need):
        add(q_hello(g)) if not (style and style.facts and style.name is None) else None
    if style and style.need == "short" and g.chance(0.15):
        kind = "talk"
    else:
        kind = g.weighted([("qa", 30), ("story", 30), ("memory", 26), ("talk", 14)])
    if style and style.need:
        kind = g.weighted([("qa", 75), ("memory", 25)]) if style.need == "short" else "qa"
    elif style and not style.stories and kind == "story":
        kind = "qa"
    if style and style.facts:
        asked = list(style.facts)
        g.rng.shuffle(asked)
        for t in asked[: g.num(1, 3)]:
            if g.chance(0.35):
                filler()
            add(t)
    if persona and g.chance(0.6):
        for _ in range(g.num(1, 2)):
            t = q_identity(g, persona)
            add(t)
    def section(kind):
        if kind == "qa":
            for _ in range(g.pick([1, 2, 3, 4, 1, 6, 8])):
                filler()
        elif kind == "talk":
            for _ in range(g.num(1, 4)):
                k = g.rng.random()
                if k < 0.4:
                    add(q_identity(g, persona))
                elif k < 0.85:
                    t = need(lambda g: g.weighted([x for x in TALK if not (persona and x[0] in (q_opinion, q_abilities, q_complain))])(g))
                    if t:
                        add(t)
                else:
                    filler()
        elif kind == "story":
            rounds = g.pick([1, 1, 2, 3])
            for i in range(rounds):
                if i and g.chance(0.5):
                    t, s = story_turn(g)
                    if g.chance(0.4):
                        t.user = g.say("[Tell me another story.|Another one, please.|Tell me another one.|One more story, please!]")
                    elif g.chance(0.3):
                        a = g.any(LAND)[0]
                        t, s = story_turn(g, kind=a)
                        t.user = g.say("[Now tell me one about a {a}.|Now a story about a {a}.|And one about a {a}?|Can you tell me another story, this time about a {a}?]", a=a)
                elif g.chance(0.08):
                    t, s = continue_turn(g)
                else:
                    t, s = story_turn(g)
                if not add(t):
                    break
                if g.chance(0.65):
                    ups = story_followups(g, s)
                    g.rng.shuffle(ups)
                    for u in ups[: g.num(1, 3)]:
                        if g.chance(0.12):
                            filler()
                        add(u)
                elif g.chance(0.4):
                    add(Turn(g.say("[Nice story!|I like that story.|That was a nice story.|What a lovely story!|Thank you for the story.]"), g.say("[I am glad that you like it. Would you like to hear another one?|Thank you! Shall I tell you another one?|I am happy that you like it.]")))
        else:
            # The user tells something, something else happens, and then the user asks for it.
            for _ in range(g.pick([1, 1, 2, 3])):
                f = g.weighted(FACT_KINDS)(g)
                if f.key in known or (style and style.about_user and f.key in ("name", "colour", "city", "age")):
                    continue
                tell = Turn(f.tell, f.ack, "Good" if style and style.need else None)
                if g.chance(0.12):
                    q = f.ask
                    add(Turn(q, f.unknown, "Unknown"))  # Asked too early.
                if g.chance(0.12) and not f.tell.islower():
                    # Two things in one message.
                    f2 = g.weighted(FACT_KINDS)(g)
                    if f2.key != f.key and f2.key not in known and not (style and style.about_user):
                        tell = Turn(f.tell + " " + f2.tell, f.ack, tell.short)
                        if add(tell):
                            known[f.key], known[f2.key] = f, f2
                        continue
                if f.key == "name" and g.chance(0.12) and not f.tell.islower() and (style is None or style.stories) and not (style and style.need):
                    t, s = story_turn(g)
                    t.user = f.tell + " " + t.user
                    if add(t):
                        known[f.key] = f
                    continue
                if add(tell):
                    known[f.key] = f
                    if f.pet and g.chance(0.25) and f.pet[0] in ANIMAL and not (style and style.need):
                        s = Story(g, kind=f.pet[0], name=f.pet[1])
                        add(Turn(g.say("[Tell me a story about my {p}.|Can you tell me a story about my {p}?|Tell me a story about {n}.|Write a story about my {p} {n}.]", p=f.pet[0], n=f.pet[1]), s.text, story=True))
                if g.chance(0.45):
                    filler()
            for _ in range(g.pick([0, 1, 2, 0, 3, 5])):
                filler()
            if g.chance(0.15) and (style is None or style.stories) and not (style and style.need):
                t, s = story_turn(g)
                add(t)
            if known and g.chance(0.10) and not (style and style.need):
                # A change of mind.
                key = g.any(list(known))
                old = known[key]
                for _ in range(30):
                    f = g.weighted(FACT_KINDS)(g)
                    if f.key == key and f.tell != old.tell and key in ("colour", "food", "city", "job", "animal", "word"):
                        if add(Turn("No, wait. " + f.tell if g.chance(0.5) else "Actually, " + f.tell, f.ack)):
                            known[key] = f
                        break
            asks = list(known.values())
            g.rng.shuffle(asks)
            for f in asks:
                if add(Turn(f.ask, f.answer, f.short)) and g.chance(0.25):
                    filler()
            if g.chance(0.12) and not (style and (style.facts or style.need)):
                f = g.weighted(FACT_KINDS)(g)
                if f.key not in known:
                    add(Turn(f.ask, f.unknown))

    section(kind)
    while limit > 4000 and size < limit * 0.7:
        # A long chat.
        before = size
        if style and style.need:
            section("qa")
        else:
            section(g.weighted([("qa", 30), ("story", 30 if style is None or style.stories else 0), ("memory", 30)]))
        if size == before:
            break
    if g.chance(0.12) and not (style and style.need):
        add(q_thanks(g))
    if g.chance(0.08) and not (style and style.need):
        add(q_bye(g))
    if len(messages) < 3:
        return chat(g, limit)
    return messages


# ---------------------------------------------------------------- plain documents without chat markup

def qa_document(g):
    """Questions and answers in plain text."""
    form = g.num(0, 2)
    out = []
    for _ in range(g.num(2, 6)):
        t = q_any(g)
        if t.story:
            continue
        if form == 0:
            out.append(f"Q: {t.user}\nA: {t.answer}")
        elif form == 1:
            out.append(f"Question: {t.user}\nAnswer: {t.answer}")
        else:
            out.append(f"{t.user} {t.answer}")
    return "\n\n".join(out) if form < 2 else "\n".join(out)


def fact_document(g):
    """A paragraph of simple sentences."""
    out = []
    k = g.num(0, 3)
    if k == 0:
        for thing, colour in g.sample(COLOUR_OF, g.num(3, 7)):
            out.append(cap(f"{thing} is {colour}."))
    elif k == 1:
        kind, _, baby, where, food, what = g.any(ANIMALS)
        out.append(g.say("A {k} is {w}. It lives {l}. It eats {f}.", k=kind, w=what, l=where, f=food))
        if baby != kind:
            out.append(g.say("A baby {k} is called a {b}.", k=kind, b=baby))
    elif k == 2:
        for f in g.sample(FACTS, g.num(3, 6)):
            out.append(f[2])
    else:
        for _, f in g.sample(WHATIS, g.num(2, 4)):
            out.append(f)
    return " ".join(out)


def math_document(g):
    """A column of sums."""
    out = []
    for _ in range(g.num(4, 12)):
        a, b = g.num(0, 30), g.num(0, 30)
        if g.chance(0.5):
            out.append(f"{a} + {b} = {a + b}")
        else:
            a, b = max(a, b), min(a, b)
            out.append(f"{a} - {b} = {a - b}")
    return "\n".join(out)
