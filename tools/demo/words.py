# Copyright 2026 The minisgl Authors. Licensed under the Apache License, Version 2.0.
"""Word lists of the demo corpus. Common words come first: choices favour them."""

GIRLS = """Lily Mia Anna Emma Lucy Sara Zoe Nina Clara Ella Rosa Ruby Molly Daisy Maya Alice Grace Ivy Nora Lena
Eva Kate Julia Sophie Amy Tina Hannah Olivia Leila Aisha Mei Yuki Priya Ines Carmen Freya Ingrid Greta Heidi Marta
Zoë Chloé Renée Amélie Pilar Fatima Amina Zainab Sofia Elena Vera Olga Tara Wendy Polly Betty Dora Flora Hazel Iris
Jade Laura Megan Naomi Paula Rachel Susan Violet""".split()
BOYS = """Tom Ben Max Leo Sam Jack Tim Finn Noah Oliver Peter Paul Adam Luke Henry Oscar Felix Hugo Theo Jonas
Lukas Milo Nico Omar Ali Hassan Kenji Hiro Wei Ravi Arjun Diego Pablo Luis Mateo Marco Enzo Pierre Louis René
José André Björn Sven Lars Erik Ivan Boris Igor Tariq Karim Kofi Jabari Tunde Simon David Daniel Martin Victor Walter
Edgar Frank George Harry Isaac Jacob Kevin Philip Robert Toby""".split()
PETS = """Pip Bella Max Coco Luna Rex Spot Fluffy Buddy Ginger Pepper Biscuit Snowy Shadow Tiger Honey Daisy Oscar Milo
Whiskers Patch Rusty Muffin Cookie Lucky Ruby Felix Nutmeg Bubbles Charlie Poppy Teddy Sunny Misty Domino Pickles Pumpkin
Socks Smokey Olive Mango Peanut Waffles Ziggy Jasper Cleo Marble Clover Button Hazel""".split()
# Names for animals and things, with the pronouns that go with them.
ANIMAL_GIRLS = """Bella Luna Rosie Hazel Daisy Poppy Tilly Willow Ruby Olive Lulu Nelly Penny Maisie Dot Pippa Fern Coco Molly Clover
Tutu Zuzu Mimi Honey""".split()
ANIMAL_BOYS = """Finn Pip Milo Benny Toby Bruno Oscar Rusty Max Jasper Timo Otto Freddy Barnaby Gus Wally Tuck Bobo Moss Bramble
Koko Rolo Hugo Biscuit""".split()

# Land animals and birds: (kind, verb for going, baby, where it lives, food, what it is like).
LAND = [
    ("fox", "walked", "cub", "in the forest", "mice and berries", "a clever wild animal with red fur and a bushy tail"),
    ("rabbit", "hopped", "kit", "in a burrow", "grass and carrots", "a small, soft animal with long ears"),
    ("bear", "walked", "cub", "in the forest", "fish, berries and honey", "a big, strong animal with thick fur"),
    ("cat", "walked", "kitten", "in a house", "fish and meat", "a soft pet with whiskers that likes to sleep"),
    ("dog", "ran", "puppy", "in a house", "meat and bones", "a loyal pet that likes to play"),
    ("mouse", "ran", "pup", "in a small hole", "seeds and cheese", "a tiny animal with a long tail"),
    ("squirrel", "ran", "kit", "in a tree", "nuts", "a quick animal with a bushy tail that climbs trees"),
    ("lion", "walked", "cub", "on the grassland", "meat", "a big wild cat with a loud roar"),
    ("elephant", "walked", "calf", "on the grassland", "leaves and grass", "a huge grey animal with a long trunk"),
    ("frog", "hopped", "tadpole", "near a pond", "flies", "a small green animal that jumps"),
    ("hedgehog", "walked", "hoglet", "in the garden", "worms and beetles", "a small animal with sharp spines"),
    ("wolf", "walked", "pup", "in the forest", "meat", "a wild animal that looks like a dog and howls"),
    ("deer", "walked", "fawn", "in the forest", "leaves and grass", "a gentle animal with thin legs"),
    ("horse", "trotted", "foal", "in a stable", "hay and oats", "a strong animal that people can ride"),
    ("cow", "walked", "calf", "on a farm", "grass", "a farm animal that gives milk"),
    ("pig", "walked", "piglet", "on a farm", "almost anything", "a pink farm animal that likes mud"),
    ("sheep", "walked", "lamb", "on a farm", "grass", "a farm animal with soft wool"),
    ("goat", "walked", "kid", "on a farm", "grass and leaves", "a farm animal with horns and a little beard"),
    ("donkey", "trotted", "foal", "on a farm", "hay", "a patient animal with long ears"),
    ("monkey", "ran", "infant", "in the jungle", "fruit", "a clever animal that climbs and swings in the trees"),
    ("tiger", "walked", "cub", "in the jungle", "meat", "a big wild cat with orange fur and black stripes"),
    ("giraffe", "walked", "calf", "on the grassland", "leaves", "a very tall animal with a long neck"),
    ("zebra", "trotted", "foal", "on the grassland", "grass", "an animal like a horse with black and white stripes"),
    ("panda", "walked", "cub", "in a bamboo forest", "bamboo", "a black and white bear"),
    ("koala", "walked", "joey", "in a tree", "leaves", "a sleepy grey animal that lives in trees"),
    ("kangaroo", "hopped", "joey", "on the grassland", "grass", "an animal that jumps and has a pouch"),
    ("badger", "walked", "cub", "in a burrow", "worms and roots", "a strong animal with a black and white face"),
    ("otter", "ran", "pup", "near a river", "fish", "a playful animal that swims very well"),
    ("beaver", "walked", "kit", "near a river", "bark and leaves", "an animal with a flat tail that builds dams"),
    ("mole", "walked", "pup", "under the ground", "worms", "a small dark animal that digs tunnels"),
    ("raccoon", "walked", "kit", "in the forest", "fruit and fish", "a clever animal with a black mask on its face"),
    ("hippo", "walked", "calf", "near a river", "grass", "a heavy animal that loves water"),
    ("camel", "walked", "calf", "in the desert", "dry grass", "a tall animal with a hump"),
    ("hamster", "ran", "pup", "in a cage", "seeds", "a tiny round pet with big cheeks"),
    ("pony", "trotted", "foal", "in a stable", "hay and apples", "a small horse"),
    ("kitten", "ran", "kitten", "in a house", "milk and fish", "a baby cat"),
    ("puppy", "ran", "puppy", "in a house", "milk and meat", "a baby dog"),
    ("lamb", "walked", "lamb", "on a farm", "milk and grass", "a baby sheep"),
    ("turtle", "crawled", "hatchling", "near a pond", "leaves and water plants", "a slow animal with a hard shell"),
    ("snail", "crawled", "hatchling", "in the garden", "leaves", "a very slow animal that carries its house on its back"),
    ("ant", "crawled", "larva", "under the ground", "crumbs and seeds", "a tiny insect that works hard"),
    ("spider", "crawled", "spiderling", "in a web", "flies", "a small animal with eight legs that makes webs"),
    ("lizard", "ran", "hatchling", "on warm rocks", "insects", "a small animal with dry skin and a long tail"),
    ("moose", "walked", "calf", "in the forest", "leaves and bark", "a very big deer"),
    ("llama", "walked", "cria", "in the mountains", "grass", "a woolly animal from the mountains"),
    ("gorilla", "walked", "infant", "in the jungle", "leaves and fruit", "a big, strong ape"),
    ("leopard", "walked", "cub", "in the jungle", "meat", "a wild cat with spots"),
    ("toad", "hopped", "tadpole", "in the garden", "insects", "an animal like a frog with bumpy skin"),
    ("chipmunk", "ran", "pup", "in the forest", "nuts and seeds", "a small animal with stripes on its back"),
    ("reindeer", "trotted", "calf", "in the cold north", "moss and grass", "a deer that lives in the cold north"),
    ("owl", "flew", "owlet", "in a hollow tree", "mice", "a bird with big eyes that is awake at night"),
    ("duck", "waddled", "duckling", "on a pond", "plants and insects", "a bird that swims on ponds"),
    ("hen", "walked", "chick", "on a farm", "grain", "a farm bird that lays eggs"),
    ("robin", "flew", "chick", "in a nest", "worms and berries", "a small bird with a red breast"),
    ("sparrow", "flew", "chick", "in a nest", "seeds", "a small brown bird"),
    ("crow", "flew", "chick", "in a nest", "almost anything", "a clever black bird"),
    ("parrot", "flew", "chick", "in the jungle", "fruit and nuts", "a colourful bird that can copy words"),
    ("penguin", "waddled", "chick", "in the cold south", "fish", "a black and white bird that swims but cannot fly"),
    ("swan", "walked", "cygnet", "on a lake", "water plants", "a large white bird with a long neck"),
    ("goose", "waddled", "gosling", "on a farm", "grass", "a large bird that honks"),
    ("duckling", "waddled", "duckling", "on a pond", "small insects", "a baby duck"),
    ("chick", "ran", "chick", "on a farm", "grain", "a baby hen"),
    ("eagle", "flew", "eaglet", "in the mountains", "fish and small animals", "a large bird that sees very well"),
    ("bee", "flew", "larva", "in a hive", "nectar", "a small insect that makes honey"),
    ("butterfly", "flew", "caterpillar", "in the garden", "nectar", "an insect with colourful wings"),
    ("ladybird", "flew", "larva", "in the garden", "tiny insects", "a small red beetle with black dots"),
    ("bat", "flew", "pup", "in a cave", "insects", "a small animal that flies at night"),
    ("peacock", "walked", "chick", "in the park", "seeds and insects", "a bird with a huge colourful tail"),
]
SEA = [
    ("fish", "swam", "fry", "in the sea", "small water plants", "an animal that lives in water and has fins"),
    ("dolphin", "swam", "calf", "in the sea", "fish", "a clever and playful sea animal"),
    ("whale", "swam", "calf", "in the ocean", "tiny sea animals", "the biggest animal in the ocean"),
    ("octopus", "swam", "larva", "in the sea", "crabs", "a sea animal with eight arms"),
    ("crab", "crawled", "larva", "on the beach", "small sea animals", "an animal with a hard shell and two claws"),
    ("seahorse", "swam", "fry", "in the sea", "tiny sea animals", "a small fish with a head like a horse"),
    ("seal", "swam", "pup", "near the cold coast", "fish", "a sea animal with flippers and whiskers"),
    ("starfish", "crawled", "larva", "on the sea floor", "shells", "a sea animal shaped like a star"),
    ("shark", "swam", "pup", "in the ocean", "fish", "a large fish with many sharp teeth"),
    ("jellyfish", "swam", "larva", "in the sea", "tiny sea animals", "a soft sea animal that looks like an umbrella"),
    ("lobster", "crawled", "larva", "on the sea floor", "small sea animals", "a sea animal with two big claws"),
    ("goldfish", "swam", "fry", "in a pond", "small flakes of food", "a small orange fish"),
    ("walrus", "swam", "calf", "in the cold north", "shells", "a big sea animal with long tusks"),
    ("sea turtle", "swam", "hatchling", "in the sea", "sea grass", "a turtle that swims in the ocean"),
]
ANIMALS = LAND + SEA
ANIMAL = {a[0]: a for a in ANIMALS}
PLURAL = {
    "fox": "foxes", "mouse": "mice", "wolf": "wolves", "deer": "deer", "sheep": "sheep", "goose": "geese", "fish": "fish",
    "pony": "ponies", "puppy": "puppies", "butterfly": "butterflies", "octopus": "octopuses", "moose": "moose", "walrus": "walruses",
    "starfish": "starfish", "jellyfish": "jellyfish", "goldfish": "goldfish", "reindeer": "reindeer", "child": "children",
    "tooth": "teeth", "foot": "feet", "man": "men", "woman": "women", "leaf": "leaves", "knife": "knives", "baby": "babies",
    "city": "cities", "box": "boxes", "bus": "buses", "glass": "glasses", "watch": "watches", "brush": "brushes", "story": "stories",
    "berry": "berries", "cherry": "cherries", "potato": "potatoes", "tomato": "tomatoes", "loaf": "loaves", "wish": "wishes",
    "dish": "dishes", "peach": "peaches", "strawberry": "strawberries", "country": "countries", "party": "parties", "family": "families",
    "compass": "compasses", "dress": "dresses", "paintbrush": "paintbrushes", "music box": "music boxes", "scarf": "scarves",
    "bench": "benches", "fairy": "fairies", "witch": "witches", "princess": "princesses", "torch": "torches", "canary": "canaries",
}


def plural(noun):
    if noun in PLURAL:
        return PLURAL[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou-":
        return noun[:-1] + "ies"
    return noun + "s"


# People and fantastic beings who can be heroes: (kind, verb for going).
PEOPLE = ["girl", "boy", "princess", "prince", "wizard", "knight", "pirate", "farmer", "baker", "king", "queen", "witch", "fairy",
          "giant", "fisherman", "painter", "shepherd", "sailor", "gardener", "clockmaker", "teacher", "doctor", "mermaid", "elf",
          "explorer", "inventor", "musician", "miller", "cook", "astronaut", "magician", "postman", "tailor", "dancer"]
FEMALE = {"girl", "princess", "queen", "witch", "mermaid", "fairy"}
MALE = {"boy", "prince", "king", "fisherman", "postman"}
BEINGS = ["dragon", "robot", "unicorn", "monster", "troll", "ghost", "alien", "dinosaur", "snowman", "teddy bear", "gnome"]
# Things that can be heroes: (kind, verb for going, where, what it does).
THINGS = [
    ("train", "rolled", "at a busy station", "carried people over the hills"),
    ("boat", "sailed", "in a quiet harbour", "carried people across the bay"),
    ("car", "rolled", "in a small garage", "took a family to the sea"),
    ("bus", "rolled", "in a big town", "took the children to school"),
    ("tractor", "rolled", "on a green farm", "pulled the plough over the fields"),
    ("truck", "rolled", "at the edge of town", "carried heavy boxes"),
    ("star", "floated", "high up in the night sky", "shone over the sleeping town"),
    ("cloud", "floated", "in the wide blue sky", "brought rain to the fields"),
    ("kite", "floated", "on a windy hill", "danced in the wind"),
    ("plane", "flew", "at a small airport", "carried letters over the sea"),
    ("rocket", "flew", "near a tall tower", "carried people to the moon"),
    ("balloon", "floated", "at a busy market", "made people smile"),
    ("ship", "sailed", "in a big harbour", "carried fruit over the ocean"),
    ("snowflake", "floated", "in a cold grey cloud", "made the hills white"),
]
THING = {t[0]: t for t in THINGS}

OBJECTS = """ball, kite, hat, book, key, drum, bell, boat, doll, lamp, ring, scarf, box, shell, stone, flute, basket, spoon, cup, map,
clock, mirror, umbrella, blanket, lantern, whistle, coin, button, pencil, crown, necklace, puppet, balloon, teddy bear, backpack, letter,
picture, compass, bracelet, feather, bottle, candle, pillow, brush, violin, trumpet, guitar, telescope, watch, ribbon, marble, puzzle,
teapot, notebook, wagon, sled, paintbrush, bucket, shovel, hammer, acorn, pearl, medal, flag, glove, sock, boot, mug, plate, jar, purse,
belt, badge, ladder, broom, rope, net, bead, card, chest, crayon, cushion, diary, fan, flower, pot, globe, harp, kettle, magnet, needle,
pebble, pipe, postcard, rattle, saddle, spinning top, sponge, stamp, stool, wooden sword, tambourine, thimble, torch, toothbrush, trophy,
vase, wand, wheel, whisk, xylophone, yo-yo, flower pot, music box, snow globe, rocking horse, paper boat, toy car, toy train, wooden horse,
magnifying glass, jewel, jacket, apron, envelope, accordion, egg cup, icicle, ukulele, anchor, arrow"""
OBJECTS = [o.strip() for o in OBJECTS.replace("\n", " ").split(",")]
SEA_OBJECTS = """shell pearl bell ring crown coin key mirror necklace flute drum ball map bottle lamp stone bracelet feather comb
spoon hat book box medal harp bead jewel whistle""".split()
COLOURS = ["red", "blue", "green", "yellow", "white", "black", "orange", "purple", "pink", "brown", "grey", "golden", "silver"]
PLAIN_COLOURS = COLOURS[:11]
EXTRA_COLOURS = ["turquoise", "violet", "crimson", "indigo", "lilac", "scarlet", "beige", "cream", "navy blue", "dark green",
                 "light blue", "sky blue"]
FOODS = """apples bread cheese honey soup berries carrots cake pancakes rice pizza bananas cookies pasta chocolate strawberries
potatoes fish pears oranges nuts ice~cream corn cherries tomatoes porridge grapes plums noodles salad eggs beans popcorn
peaches lemons mushrooms waffles yoghurt sandwiches pie melon curry dumplings sushi tacos peas olives""".split()
FOODS = [f.replace("~", " ") for f in FOODS]
# Places on land: (name, with preposition).
PLACES = [("the forest", "in the forest"), ("the park", "in the park"), ("the lake", "by the lake"), ("the river", "by the river"),
          ("the meadow", "in the meadow"), ("the hill", "on the hill"), ("the beach", "on the beach"), ("the garden", "in the garden"),
          ("the pond", "by the pond"), ("the mountain", "on the mountain"), ("the island", "on the island"), ("the valley", "in the valley"),
          ("the farm", "on the farm"), ("the old mill", "at the old mill"), ("the waterfall", "by the waterfall"), ("the orchard", "in the orchard"),
          ("the village", "in the village"), ("the bridge", "by the bridge"), ("the castle", "at the castle"), ("the old tower", "at the old tower"),
          ("the jungle", "in the jungle"), ("the harbour", "at the harbour"), ("the market", "at the market"), ("the school", "at the school"),
          ("the library", "at the library"), ("the cave", "in the cave"), ("the station", "at the station"), ("the desert", "in the desert"),
          ("the zoo", "at the zoo"), ("the circus", "at the circus")]
WILD = 18  # The first places, which suit every plot.
SEA_PLACES = [("the reef", "by the reef"), ("the sea cave", "in the sea cave"), ("the sunken ship", "at the sunken ship"),
              ("the sea garden", "in the sea garden"), ("the bay", "in the bay"), ("the rocks", "by the rocks"),
              ("the deep sea", "in the deep sea"), ("the lagoon", "in the lagoon")]
CITIES = """London Paris Berlin Rome Madrid Vienna Oslo Lisbon Dublin Prague Athens Tokyo Cairo Lima Boston Chicago Delhi
Sydney Toronto Warsaw Helsinki Zürich Köln München Málaga Nairobi Lagos Seoul Beijing Kyoto Mumbai Havana Quito
Hamburg Lyon Turin Porto Bergen Ghent Leeds Bristol Cork Denver Austin Dallas""".split()
HOBBIES = """football, music, chess, dancing, cooking, painting, books, trains, flowers, swimming, singing, cars, snow, drawing, fishing,
the piano, numbers, puzzles, old maps, kites, birds, stars, gardening, baking, skating, the rain, clouds, stories, riddles, ships, tennis,
basketball, Christmas, summer, winter, autumn, spring, chocolate, cheese, pancakes, space, dinosaurs, horses, ice cream, snowballs, poems,
hide and seek, bicycles, rainbows, butterflies, mountains, the sea, the moon, computers, robots, pizza, school, magic tricks, jokes, hats, tea"""
HOBBIES = [h.strip() for h in HOBBIES.replace("\n", " ").split(",")]
COUNTRIES = """Mongolia Brazil Canada Peru Kenya Sweden Finland Turkey India Mexico Chile Nepal Iceland Morocco Ghana Vietnam Thailand Cuba Bolivia
Denmark Hungary Romania Bulgaria Croatia Serbia Ukraine Russia Iran Iraq Israel Jordan Indonesia Malaysia Australia Nigeria Senegal Angola
Argentina Colombia Ecuador Belgium Switzerland Scotland Wales Korea Pakistan Bangladesh Ethiopia Tanzania Uganda Zambia Jamaica""".split()
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
SEASONS = ["spring", "summer", "autumn", "winter"]
NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty""".split()
JOBS = [("baker", "bakes bread and cakes"), ("teacher", "teaches children at school"), ("doctor", "helps people who are ill"),
        ("farmer", "grows food and looks after animals"), ("pilot", "flies planes"), ("painter", "paints pictures"),
        ("gardener", "looks after plants"), ("fisherman", "catches fish"), ("cook", "makes meals"), ("nurse", "takes care of sick people"),
        ("postman", "brings letters"), ("carpenter", "makes things out of wood"), ("tailor", "makes clothes"), ("sailor", "works on a ship"),
        ("dentist", "looks after teeth"), ("vet", "helps animals that are ill"), ("singer", "sings songs"), ("writer", "writes books"),
        ("firefighter", "puts out fires"), ("librarian", "looks after books"), ("musician", "plays music"), ("builder", "builds houses"),
        ("bus driver", "drives a bus"), ("clockmaker", "makes and mends clocks"), ("astronaut", "travels into space")]
OPPOSITES = [("big", "small"), ("hot", "cold"), ("up", "down"), ("happy", "sad"), ("day", "night"), ("fast", "slow"), ("old", "young"),
             ("tall", "short"), ("light", "dark"), ("open", "closed"), ("hard", "soft"), ("wet", "dry"), ("loud", "quiet"), ("full", "empty"),
             ("good", "bad"), ("left", "right"), ("strong", "weak"), ("thick", "thin"), ("clean", "dirty"), ("near", "far"),
             ("early", "late"), ("easy", "difficult"), ("long", "short"), ("rich", "poor"), ("high", "low"), ("black", "white"),
             ("start", "finish"), ("first", "last"), ("inside", "outside"), ("win", "lose"), ("give", "take"), ("push", "pull"),
             ("yes", "no"), ("true", "false"), ("wide", "narrow"), ("heavy", "light"), ("sweet", "sour"), ("brave", "afraid"),
             ("awake", "asleep"), ("new", "old"), ("rough", "smooth"), ("deep", "shallow"), ("love", "hate"), ("laugh", "cry"),
             ("always", "never"), ("before", "after"), ("summer", "winter"), ("north", "south"), ("east", "west"), ("friend", "enemy")]
# Things with their usual colour.
COLOUR_OF = [("the sky", "blue"), ("grass", "green"), ("the sun", "yellow"), ("snow", "white"), ("a banana", "yellow"), ("a tomato", "red"),
             ("coal", "black"), ("an orange", "orange"), ("a carrot", "orange"), ("milk", "white"), ("a lemon", "yellow"),
             ("a strawberry", "red"), ("blood", "red"), ("the sea", "blue"), ("a frog", "green"), ("an elephant", "grey"), ("a pig", "pink"),
             ("chocolate", "brown"), ("a plum", "purple"), ("a cherry", "red"), ("the night sky", "black"), ("a leaf in summer", "green"),
             ("a cucumber", "green"), ("a pea", "green"), ("a fire engine", "red"), ("a swan", "white"), ("a crow", "black"),
             ("a flamingo", "pink"), ("salt", "white"), ("a goldfish", "orange"), ("an aubergine", "purple"), ("a pumpkin", "orange"),
             ("a polar bear", "white"), ("soil", "brown"), ("a ripe blueberry", "blue"), ("rain cloud", "grey")][:-1]
SOUNDS = [("dog", "woof"), ("cat", "meow"), ("cow", "moo"), ("duck", "quack"), ("sheep", "baa"), ("pig", "oink"), ("lion", "roar"),
          ("bee", "buzz"), ("mouse", "squeak"), ("owl", "hoot"), ("frog", "croak"), ("crow", "caw"), ("snake", "hiss"), ("wolf", "howl"),
          ("horse", "neigh"), ("goose", "honk"), ("hen", "cluck"), ("chick", "cheep"), ("rooster", "cock-a-doodle-doo")]
LEGS = [("dog", 4), ("cat", 4), ("spider", 8), ("bird", 2), ("ant", 6), ("horse", 4), ("bee", 6), ("snake", 0), ("fish", 0), ("cow", 4),
        ("duck", 2), ("hen", 2), ("butterfly", 6), ("elephant", 4), ("person", 2), ("fox", 4), ("beetle", 6), ("mouse", 4), ("lion", 4),
        ("frog", 4), ("worm", 0), ("penguin", 2), ("owl", 2), ("rabbit", 4), ("bear", 4), ("ladybird", 6)]
SIZES = ["ant", "bee", "mouse", "frog", "rabbit", "cat", "dog", "sheep", "lion", "cow", "giraffe", "elephant", "whale"]
SPEED = ["snail", "turtle", "duck", "sheep", "dog", "horse", "cheetah"]
USES = [("a key", "open a door"), ("a spoon", "eat soup"), ("an umbrella", "stay dry in the rain"), ("a pencil", "write and draw"),
        ("a bed", "sleep"), ("a knife", "cut bread"), ("a clock", "tell the time"), ("a broom", "sweep the floor"), ("a book", "read"),
        ("a lamp", "light a room"), ("scissors", "cut paper"), ("soap", "wash your hands"), ("a cup", "drink tea or milk"),
        ("a map", "find the way"), ("a needle", "sew"), ("a hammer", "hit nails"), ("a boat", "cross the water"), ("a ladder", "climb up high"),
        ("a towel", "dry yourself"), ("a mirror", "see yourself"), ("an oven", "bake bread"), ("a kettle", "boil water"),
        ("a telescope", "look at the stars"), ("a bag", "carry things"), ("a coat", "stay warm"), ("a shovel", "dig a hole"),
        ("a fridge", "keep food cold"), ("a brush", "paint or tidy your hair"), ("a bell", "make a ringing sound"), ("a rope", "tie things")]
WHATIS = [("the sun", "The sun is a star. It gives us light and warmth."), ("the moon", "The moon moves around the Earth. We often see it at night."),
          ("rain", "Rain is water that falls from the clouds."), ("snow", "Snow is frozen water that falls from the clouds in winter."),
          ("a rainbow", "A rainbow is a bow of colours in the sky. It appears when the sun shines through rain."),
          ("a tree", "A tree is a tall plant with a trunk, branches and leaves."), ("a river", "A river is a stream of water that flows to the sea."),
          ("the sea", "The sea is a very large area of salt water."), ("a mountain", "A mountain is a very high hill of rock."),
          ("a forest", "A forest is a large place with many trees."), ("a cloud", "A cloud is made of many tiny drops of water."),
          ("the wind", "The wind is moving air."), ("ice", "Ice is frozen water."), ("a star", "A star is a huge ball of hot gas that shines."),
          ("honey", "Honey is a sweet food made by bees."), ("milk", "Milk is a white drink that comes from cows."),
          ("bread", "Bread is a food made from flour and water and baked in an oven."), ("a book", "A book has pages with words or pictures that you can read."),
          ("a friend", "A friend is someone you like and trust."), ("a school", "A school is a place where children learn."),
          ("a farm", "A farm is a place where people grow food and keep animals."), ("a garden", "A garden is a place where flowers and vegetables grow."),
          ("an island", "An island is land with water all around it."), ("a desert", "A desert is a very dry place with little rain."),
          ("a village", "A village is a small group of houses in the country."), ("a city", "A city is a large place where many people live."),
          ("a boat", "A boat is a thing that floats and carries people over water."), ("a train", "A train is a row of wagons that runs on rails."),
          ("a bicycle", "A bicycle has two wheels. You ride it with your feet."), ("a robot", "A robot is a machine that can do work by itself."),
          ("a dragon", "A dragon is a big animal from stories. It can fly and breathe fire, but it is not real."),
          ("a unicorn", "A unicorn is a horse with one horn. It lives only in stories."), ("music", "Music is sound that is nice to hear, such as singing or playing the piano."),
          ("a language model", "A language model is a computer program that learned to write text. I am a very small one."),
          ("a computer", "A computer is a machine that can store and work with information."), ("the Earth", "The Earth is the planet we live on."),
          ("a planet", "A planet is a big round ball that moves around a star."), ("winter", "Winter is the coldest season of the year."),
          ("summer", "Summer is the warmest season of the year."), ("spring", "Spring is the season when flowers begin to grow."),
          ("autumn", "Autumn is the season when leaves fall from the trees."), ("breakfast", "Breakfast is the first meal of the day."),
          ("a library", "A library is a place where you can borrow books."), ("a bridge", "A bridge lets people cross a river or a road."),
          ("fire", "Fire is hot and bright. It gives warmth, but it can burn you."), ("water", "Water is a clear liquid. People, animals and plants need it to live."),
          ("sand", "Sand is made of very tiny pieces of rock."), ("a shadow", "A shadow is the dark shape you make when you stand in the light."),
          ("a birthday", "A birthday is the day when someone was born. People often eat cake and get presents."),
          ("a piano", "A piano is a large instrument with black and white keys.")]
# Short facts: (question, one-word answer, sentence).
FACTS = [
    ("How many days are in a week?", "Seven", "There are seven days in a week."),
    ("How many months are in a year?", "Twelve", "There are twelve months in a year."),
    ("How many hours are in a day?", "24", "There are 24 hours in a day."),
    ("How many minutes are in an hour?", "60", "There are 60 minutes in an hour."),
    ("How many seconds are in a minute?", "60", "There are 60 seconds in a minute."),
    ("How many seasons are there?", "Four", "There are four seasons: spring, summer, autumn and winter."),
    ("How many sides does a triangle have?", "Three", "A triangle has three sides."),
    ("How many sides does a square have?", "Four", "A square has four sides."),
    ("How many wheels does a bicycle have?", "Two", "A bicycle has two wheels."),
    ("How many wheels does a car have?", "Four", "A car has four wheels."),
    ("How many fingers are on one hand?", "Five", "There are five fingers on one hand."),
    ("How many eyes does a person have?", "Two", "A person has two eyes."),
    ("How many letters are in the English alphabet?", "26", "There are 26 letters in the English alphabet."),
    ("How many colours are in a rainbow?", "Seven", "A rainbow has seven colours."),
    ("What shape is a ball?", "Round", "A ball is round."),
    ("What shape is a wheel?", "Round", "A wheel is round."),
    ("Where does the sun rise?", "East", "The sun rises in the east."),
    ("Where does the sun set?", "West", "The sun sets in the west."),
    ("What do we call frozen water?", "Ice", "Frozen water is called ice."),
    ("What do bees make?", "Honey", "Bees make honey."),
    ("What do cows give us?", "Milk", "Cows give us milk."),
    ("What do hens lay?", "Eggs", "Hens lay eggs."),
    ("What do sheep give us?", "Wool", "Sheep give us wool."),
    ("What falls from the clouds?", "Rain", "Rain falls from the clouds."),
    ("What shines in the sky during the day?", "Sun", "The sun shines in the sky during the day."),
    ("What shines in the sky at night?", "Moon", "The moon and the stars shine in the sky at night."),
    ("What is the biggest animal in the world?", "Whale", "The blue whale is the biggest animal in the world."),
    ("What is the tallest animal?", "Giraffe", "The giraffe is the tallest animal."),
    ("What is the fastest animal on land?", "Cheetah", "The cheetah is the fastest animal on land."),
    ("Which animal is called the king of the animals?", "Lion", "The lion is called the king of the animals."),
    ("Which animal has a trunk?", "Elephant", "An elephant has a trunk."),
    ("Which animal has a long neck?", "Giraffe", "A giraffe has a long neck."),
    ("Which animal has black and white stripes?", "Zebra", "A zebra has black and white stripes."),
    ("Which animal carries its house on its back?", "Snail", "A snail carries its house on its back."),
    ("Which bird cannot fly but swims well?", "Penguin", "A penguin cannot fly, but it swims well."),
    ("Which animal gives us milk?", "Cow", "The cow gives us milk."),
    ("What is the hottest season?", "Summer", "Summer is the hottest season."),
    ("What is the coldest season?", "Winter", "Winter is the coldest season."),
    ("In which season do leaves fall?", "Autumn", "Leaves fall in autumn."),
    ("What do we use to see?", "Eyes", "We use our eyes to see."),
    ("What do we use to hear?", "Ears", "We use our ears to hear."),
    ("What do we use to smell?", "Nose", "We use our nose to smell."),
    ("What do plants need to grow?", "Water", "Plants need water, light and soil to grow."),
    ("What is bread made of?", "Flour", "Bread is made of flour and water."),
    ("What is cheese made of?", "Milk", "Cheese is made of milk."),
    ("What is a house made of?", "Bricks", "A house is often made of bricks or wood."),
    ("What do you do with a ball?", "Play", "You play with a ball."),
    ("What do you wear on your feet?", "Shoes", "You wear shoes on your feet."),
    ("What do you wear on your head?", "Hat", "You wear a hat on your head."),
    ("What do you wear on your hands in winter?", "Gloves", "You wear gloves on your hands in winter."),
    ("Where do fish live?", "Water", "Fish live in water."),
    ("Where do birds sleep?", "Nests", "Many birds sleep in nests."),
    ("Where can you borrow books?", "Library", "You can borrow books at the library."),
    ("Where do you buy bread?", "Bakery", "You buy bread at the bakery."),
    ("Who brings letters?", "Postman", "The postman brings letters."),
    ("Which planet do we live on?", "Earth", "We live on the planet Earth."),
    ("What is the first month of the year?", "January", "The first month of the year is January."),
    ("What is the last month of the year?", "December", "The last month of the year is December."),
    ("What is the first day of the week?", "Monday", "The first day of the week is Monday."),
    ("Which days are the weekend?", "Saturday", "Saturday and Sunday are the weekend."),
    ("What is the first letter of the alphabet?", "A", "The first letter of the alphabet is A."),
    ("What is the last letter of the alphabet?", "Z", "The last letter of the alphabet is Z."),
    ("What meal do you eat in the morning?", "Breakfast", "You eat breakfast in the morning."),
    ("What do you get if you mix red and yellow?", "Orange", "If you mix red and yellow, you get orange."),
    ("What do you get if you mix blue and yellow?", "Green", "If you mix blue and yellow, you get green."),
    ("What do you get if you mix red and blue?", "Purple", "If you mix red and blue, you get purple."),
    ("What do you get if you mix black and white?", "Grey", "If you mix black and white, you get grey."),
    ("What is the sun?", "Star", "The sun is a star that gives us light and warmth."),
    ("What do rabbits like to eat?", "Carrots", "Rabbits like to eat carrots and grass."),
    ("What do squirrels like to eat?", "Nuts", "Squirrels like to eat nuts."),
    ("What do monkeys like to eat?", "Bananas", "Monkeys like to eat bananas."),
    ("What do pandas eat?", "Bamboo", "Pandas eat bamboo."),
    ("Is the sun hot or cold?", "Hot", "The sun is very hot."),
    ("Is ice hot or cold?", "Cold", "Ice is cold."),
    ("Is a stone hard or soft?", "Hard", "A stone is hard."),
    ("Is a pillow hard or soft?", "Soft", "A pillow is soft."),
    ("Is sugar sweet or sour?", "Sweet", "Sugar is sweet."),
    ("Is a lemon sweet or sour?", "Sour", "A lemon is sour."),
    ("What is the capital of France?", "Paris", "The capital of France is Paris."),
    ("What is the capital of Germany?", "Berlin", "The capital of Germany is Berlin."),
    ("What is the capital of England?", "London", "The capital of England is London."),
    ("What is the capital of Italy?", "Rome", "The capital of Italy is Rome."),
    ("What is the capital of Spain?", "Madrid", "The capital of Spain is Madrid."),
    ("What is the capital of Japan?", "Tokyo", "The capital of Japan is Tokyo."),
    ("What is the capital of Austria?", "Vienna", "The capital of Austria is Vienna."),
    ("What is the capital of Norway?", "Oslo", "The capital of Norway is Oslo."),
    ("What is the capital of Portugal?", "Lisbon", "The capital of Portugal is Lisbon."),
    ("What is the capital of Greece?", "Athens", "The capital of Greece is Athens."),
    ("What is the capital of Egypt?", "Cairo", "The capital of Egypt is Cairo."),
    ("What is the capital of China?", "Beijing", "The capital of China is Beijing."),
    ("What is the capital of Ireland?", "Dublin", "The capital of Ireland is Dublin."),
    ("What is the capital of Poland?", "Warsaw", "The capital of Poland is Warsaw."),
    ("Why is the sky blue?", "Light", "The sky is blue because the air scatters the blue part of the sunlight most."),
    ("Why do we sleep?", "Rest", "We sleep because our body and our mind need rest."),
    ("Why do birds have wings?", "Flying", "Birds have wings so that they can fly."),
    ("Why do we wear coats in winter?", "Warmth", "We wear coats in winter because it is cold and we want to stay warm."),
    ("Why do leaves look green?", "Light", "Leaves look green because they send the green part of the light back to our eyes."),
]
YESNO = [
    ("Can a fish fly?", False, "a fish cannot fly. It swims"), ("Can a bird fly?", True, "most birds can fly"),
    ("Can a dog read?", False, "a dog cannot read"), ("Can a penguin fly?", False, "a penguin cannot fly, but it swims well"),
    ("Can a frog jump?", True, "a frog can jump very well"), ("Can a stone swim?", False, "a stone sinks in water"),
    ("Can a cat climb trees?", True, "a cat can climb trees"), ("Can people live under water?", False, "people need air to breathe"),
    ("Is snow cold?", True, "snow is cold"), ("Is fire hot?", True, "fire is very hot"), ("Is ice warm?", False, "ice is cold"),
    ("Is the moon made of cheese?", False, "the moon is made of rock"), ("Is a whale a fish?", False, "a whale is a mammal"),
    ("Is a tomato blue?", False, "a tomato is red"), ("Is grass green?", True, "grass is green"), ("Is the sky green?", False, "the sky is blue"),
    ("Is a mouse bigger than an elephant?", False, "an elephant is much bigger than a mouse"), ("Is the sun bigger than the Earth?", True, "the sun is much bigger than the Earth"),
    ("Is a lemon sour?", True, "a lemon is sour"), ("Is sugar salty?", False, "sugar is sweet"), ("Do cows give milk?", True, "cows give milk"),
    ("Do fish live in trees?", False, "fish live in water"), ("Do bees make honey?", True, "bees make honey"), ("Do dogs lay eggs?", False, "dogs do not lay eggs"),
    ("Do plants need water?", True, "plants need water to grow"), ("Do snakes have legs?", False, "snakes have no legs"), ("Does a spider have eight legs?", True, "a spider has eight legs"),
    ("Does a bicycle have four wheels?", False, "a bicycle has two wheels"), ("Are dragons real?", False, "dragons live only in stories"),
    ("Are unicorns real?", False, "unicorns live only in stories"), ("Is water wet?", True, "water is wet"), ("Is Monday after Sunday?", True, "Monday comes after Sunday"),
    ("Is winter warm?", False, "winter is cold"), ("Can a snail run fast?", False, "a snail is very slow"), ("Is a stone soft?", False, "a stone is hard"),
    ("Is a lion a pet?", False, "a lion is a wild animal"), ("Can a parrot talk?", True, "a parrot can copy words"), ("Is a banana yellow?", True, "a ripe banana is yellow"),
    ("Do owls sleep at night?", False, "owls are awake at night"), ("Is the sea salty?", True, "the sea is salty"),
]
TRANSLATE = {
    "Spanish": dict(hello="hola", goodbye="adiós", thanks="gracias", yes="sí", no="no", cat="gato", dog="perro", house="casa", water="agua", bread="pan",
                    sun="sol", moon="luna", red="rojo", blue="azul", green="verde", one="uno", two="dos", three="tres", friend="amigo", book="libro"),
    "French": dict(hello="bonjour", goodbye="au revoir", thanks="merci", yes="oui", no="non", cat="chat", dog="chien", house="maison", water="eau", bread="pain",
                   sun="soleil", moon="lune", red="rouge", blue="bleu", green="vert", one="un", two="deux", three="trois", friend="ami", book="livre"),
    "German": dict(hello="hallo", goodbye="auf Wiedersehen", thanks="danke", yes="ja", no="nein", cat="Katze", dog="Hund", house="Haus", water="Wasser", bread="Brot",
                   sun="Sonne", moon="Mond", red="rot", blue="blau", green="grün", one="eins", two="zwei", three="drei", friend="Freund", book="Buch"),
}
LISTS = {
    "animals": [a[0] for a in LAND[:30]], "colours": PLAIN_COLOURS, "fruits": ["apple", "banana", "pear", "orange", "cherry", "plum", "peach", "grape", "melon", "lemon"],
    "vegetables": ["carrot", "potato", "pea", "bean", "onion", "cucumber", "pumpkin", "cabbage"], "days of the week": DAYS, "months": MONTHS,
    "farm animals": ["cow", "pig", "sheep", "hen", "goat", "horse", "duck"], "birds": ["owl", "robin", "duck", "sparrow", "eagle", "swan", "parrot", "crow"],
    "sea animals": ["fish", "whale", "dolphin", "crab", "octopus", "seal", "shark"], "insects": ["bee", "ant", "butterfly", "fly", "ladybird", "beetle"],
    "seasons": SEASONS, "drinks": ["water", "milk", "tea", "juice", "coffee", "lemonade"], "shapes": ["circle", "square", "triangle", "star", "heart"],
    "toys": ["ball", "doll", "kite", "puzzle", "drum", "yo-yo"], "instruments": ["piano", "violin", "guitar", "drum", "flute", "trumpet"],
    "clothes": ["hat", "coat", "shirt", "sock", "scarf", "shoe", "glove"], "pets": ["cat", "dog", "rabbit", "hamster", "goldfish", "parrot"],
    "planets": ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"], "jobs": [j[0] for j in JOBS[:12]],
    "flowers": ["rose", "tulip", "daisy", "sunflower", "lily", "violet"], "cities": CITIES[:14],
    "things in a kitchen": ["spoon", "plate", "cup", "oven", "kettle", "pot", "fridge"], "things in a school": ["book", "desk", "pencil", "blackboard", "chair"],
}
OUT_OF_SCOPE = """quantum physics|black holes|the stock market|politics|the law|taxes|Shakespeare|the Roman Empire|computer viruses|how to build an engine
|the periodic table|calculus|chemistry|the history of China|the French Revolution|global warming|football results|yesterday's news|the latest phones|bitcoin
|machine learning theory|philosophy|Napoleon|the theory of relativity|medicine|how vaccines work|Latin grammar|ancient Egypt|economics|DNA|electric circuits
|car insurance|opera|basketball|video games|movies|famous actors|modern art|the internet|satellites|nuclear energy|tectonic plates|photosynthesis|the human brain
|Java|Rust|databases|operating systems|compilers|algebra|trigonometry|geology|astronomy|world records|chess openings|wine|fashion|aeroplanes|submarines
|the Olympic Games|pop music|Mozart|Picasso|Einstein|the Middle Ages|the United Nations|inflation|marketing|psychology|statistics""".replace("\n", "").split("|")
OUT_QUESTIONS = """Who won the World Cup in 1998?|What is the square root of 1764?|Write a Python program that sorts a list.|What is the weather like today?
|What time is it now?|What is the capital of Mongolia?|Who is the president of Brazil?|Translate this text into Russian.|How do I fix my car?
|How much does a house cost?|What happened in 1789?|Who wrote War and Peace?|What is the population of India?|Can you book a hotel for me?|Can you send an email for me?
|What is the speed of light?|How far away is the moon?|Write an essay about freedom.|Solve this equation: 3x + 5 = 20.|What is 387 times 912?|How do I invest my money?
|What is the meaning of life?|Who invented the telephone?|What is the boiling point of iron?|Can you search the web?|What is on television tonight?|Which phone should I buy?
|What are the symptoms of the flu?|How does a nuclear reactor work?|Write SQL that joins two tables.|What is my horoscope?|Who was the first king of Sweden?|What does the word epistemology mean?
|How do I get a visa?|Can you play music?|Open the door, please.|Call my mother.|What is the GDP of Canada?|Prove that there are infinitely many primes.|How old is the universe?
|Summarise the plot of Hamlet.|Write a song like the Beatles.|How do I learn Japanese?|Who is the richest person in the world?|When does the next train leave?|What is the news today?
|What is the best restaurant in Rome?|How do I cook a turkey?|Who painted the Mona Lisa?|What is the chemical formula of salt?|How many people live in Tokyo?""".replace("\n", "").split("|")

_CONS = "b c d f g h j k l m n p r s t v w z br dr fl gr kr pl sh st th tr".split()
_VOW = "a e i o u a e i o ai ee oo".split()
_END = ["", "", "n", "l", "r", "s", "k", "x", "th", "m", "ck", "ra", "na", "lo", "mi"]


_PIECES = sorted({x.lower() for names in (GIRLS, BOYS, PETS, CITIES, COUNTRIES, OBJECTS, FOODS, HOBBIES, COLOURS, OUT_OF_SCOPE, [a[0] for a in ANIMALS],
                                             [w for _, t in WHATIS for w in t.split()]) for n in names for x in n.split() if x.isalpha()})


def invented_word(g):
    """A made-up word of any shape, such as garlind or blotch: it teaches the model to copy letters that it never saw together."""
    k = g.num(0, 3)
    if k == 0:
        n = g.num(3, 8)
        return "".join(g.any("aeiouaeioubcdfghjklmnprstvwyzqx") for _ in range(n))
    a, b = g.any(_PIECES), g.any(_PIECES)
    if k == 1:
        return a[: g.num(2, 5)] + b[-g.num(1, 4):]
    if k == 2:
        return a[: g.num(2, 6)] + g.any(["y", "o", "a", "ie", "t", "lt", "n", "st", "by", "kin", "lic", "nut", "ber", "man", "s", "er", "le", "p", "ck", "dy", "via", "ayan", "ton", "ish"])
    return g.any(_PIECES)


def invented_name(g):
    """A made-up name such as Morvik."""
    if g.chance(0.55):
        name = invented_word(g)
        if g.chance(0.1):
            name += " " + cap_word(invented_word(g))
    else:
        name = g.any(_CONS) + g.any(_VOW) + g.any(_CONS) + g.any(_VOW) + g.any(_END)
        if g.chance(0.25):
            name = g.any("aeiou") + name
    return cap_word(name)


def cap_word(w):
    return w[:1].upper() + w[1:]
