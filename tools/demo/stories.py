# Copyright 2026 The minisgl Authors. Licensed under the Apache License, Version 2.0.
"""Short stories: plots written as templates, and the people and things that fill them.

Slots: {h} the hero with {he} {him} {his} {himself}, {hk} the hero's kind, {hintro} the hero's first mention; {f} the friend with
{fhe} {fhim} {fhis}, {fk}, {fintro}; {w} a wise helper with {wintro}; {obj} an object, {xobj} the same with its colour; {food};
{place} and {inplace}; {home}; {mom} a parent; {spot} a hiding place; {went} how the hero moves.
"""
import re

from words import *

# Every plot: where it can happen, what it is about, its paragraphs, and what may be asked about it afterwards.
PLOTS = [
    dict(id="lost", worlds="land sea", needs="obj", theme=["a lost {obj}", "losing a {obj}"], paras=[
        "{He} had {a} {xobj} that {he} loved [very much|more than anything else|with all {his} heart]. [{He} took it everywhere.|{He} looked at it every morning and every evening.|It was a gift from {mom}.] [{He} often played with it {inplace}.|{He} liked to take it to {place}.]",
        "[One day|One morning|One afternoon|One evening], [{h} looked around and the {obj} was gone|the {obj} was gone|{h} could not find the {obj}]. \"Oh no! Where is my {obj}?\" [{he} cried|{he} said]. {He} looked {spot}. {He} looked {spot2}. [But it was not there.|It was nowhere.|There was no {obj}.] {H} felt very [sad|worried|unhappy] and [sat down|began to cry].",
        "Then {fintro} came by. \"[Why are you so sad?|What is wrong?|Why are you crying?]\" asked {f}. \"I have lost my {obj},\" said {h}. \"[Do not worry|Do not be sad|Cheer up]. [I will help you|Let us look for it together|Two can look better than one],\" said {f}. They [looked everywhere|looked high and low|searched for a long time] {inplace}. [At last|After a while|Suddenly], {f} [called, \"Look! Here it is!\"|shouted, \"I see it!\"|smiled and pointed.] The {obj} was {spot3}.",
        "{H} was so [happy|glad]. \"Thank you, {f}! You are a [good|true|wonderful] friend,\" {he} said. [From that day on, {h} and {f} played with the {obj} together.|Then they played together until the sun went down.|They took the {xobj} home and played with it all evening.|After that, {h} took good care of the {obj} and of {his} new friend.]"],
        summary="{h} lost {his} {obj}, and {f} helped {him} to find it", lesson="[Friends help each other.|It is easier to look for things together.]", problem="{h} lost {his} {obj}", helper="{f}", mood="happy", found=True),
    dict(id="friend", worlds="land sea", needs="", theme=["friendship", "making a new friend", "two friends", "being lonely"], paras=[
        "{He} was [often|very|always] lonely, because [there was nobody to play with|{he} had no friends|{he} was new {inplace}]. Every day {he} [played alone|sat alone|played all by {himself}] {inplace}. \"I wish I had a friend,\" {he} [said|thought|whispered].",
        "[One day|One morning|One sunny day], {h} saw {fintro} {spot}. [{F} was very shy and did not say a word.|{F} looked a little scared.|{F} looked lonely, too.] \"Hello, my name is {h}. [Do you want to play with me?|Would you like to play?]\" said {h}. {F} [did not answer|looked down|was too shy to speak].",
        "{H} had an idea. {He} [took out some {food}|had brought some {food}] and said, \"[I have {food}. Would you like some?|We can share my {food}.]\" {F} [smiled|began to smile] and said, \"[Yes, please!|Thank you! I am {f}.|Oh, thank you! I love {food}.]\" They ate the {food} together and [talked and laughed|laughed a lot|told each other stories].",
        "[From that day on|After that day], {h} and {f} [were best friends|met {inplace} every day|played together every day]. {H} was never lonely again."],
        summary="{h} was lonely and became friends with {f}", lesson="[A kind word can make a new friend.|Sharing is a good way to make friends.]", problem="{h} was lonely", helper="{f}", mood="happy"),
    dict(id="dark", worlds="land", needs="", theme=["being brave", "being afraid of the dark", "courage"], paras=[
        "{H} liked [the sun|bright days|sunny days], but {he} was afraid of the dark. [Every night {he} hid under the blanket.|When night came, {he} could not sleep.|When the sun went down, {he} always ran home.] [{His} friends laughed at {him}.|{He} did not tell anyone about it.]",
        "[One evening|One night], {h} heard a [small|sad|quiet] voice outside. \"Help! Help!\" [it called|it cried]. It was {f}, {fintro2}. {F} was lost {inplace} and could not find the way home. {H} looked at the dark [night|trees|path] and {his} heart beat fast. \"I am afraid,\" {he} thought, \"but {f} needs me.\"",
        "So {h} took a [small|little] lantern, [took a deep breath|closed {his} eyes for a moment|counted to three] and went out into the night. [Step by step|Slowly], {he} went to {place}. [The wind made strange sounds|A branch cracked|An owl called], but {h} did not [turn back|run away]. [At last|Soon], {he} found {f} {spot}. \"[You came!|I am so glad to see you!]\" cried {f}. Together they went home in the light of the lantern.",
        "[\"You are very brave,\" said {f}.|\"You were so brave,\" said {mom}.] {H} smiled. [{He} looked up and saw a thousand stars.|{He} saw that the night was full of stars.] [\"The dark is not so bad after all,\" {he} said.|From then on, {he} was not afraid of the dark any more.]"],
        summary="{h} was afraid of the dark but went out at night to help {f}", lesson="[To be brave is to help even when you are afraid.|You can be afraid and brave at the same time.]", problem="{h} was afraid of the dark", helper="{h}", mood="proud"),
    dict(id="deep", worlds="sea", needs="", theme=["being brave", "courage"], paras=[
        "{H} loved to play in the warm, bright water, but {he} was afraid of [the deep, dark cave|the dark deep sea]. \"[Strange things live there|It is too dark there],\" {he} always said.",
        "[One day|One morning], {h} heard a small voice. \"Help! Help!\" it called. It was {f}, {fintro2}. {F} had swum into the dark and could not find the way out. {H} was afraid. \"But {f} needs me,\" {he} thought.",
        "So {h} [took a deep breath|counted to three] and swam into the dark. It was cold and quiet there. {H} called, \"Follow my voice, {f}!\" [At last|Soon], {f} came closer and closer. Together they swam back to {place}, where the water was [bright|warm|full of light].",
        "[\"You are very brave,\" said {f}.|\"Thank you! You saved me,\" said {f}.] {H} smiled. [From then on, {he} was not afraid of the dark any more.|\"The dark is not so bad after all,\" {he} said.]"],
        summary="{h} was afraid of the dark water but swam into it to help {f}", lesson="[To be brave is to help even when you are afraid.|You can be afraid and brave at the same time.]", problem="{h} was afraid of the dark", helper="{h}", mood="proud"),
    dict(id="share", worlds="land sea", needs="obj", theme=["sharing", "sharing a {obj}", "two friends and a {obj}"], paras=[
        "{H} had a good friend, {fintro}. They [played together every day|did everything together] {inplace}.",
        "[One day|One morning], they found {a} {xobj} {spot}. \"It is mine! I saw it first,\" said {h}. \"No, it is mine! I picked it up,\" said {f}. They [began to shout|pulled at the {obj}|were both very angry]. [Soon they did not talk to each other any more.|Then they turned their backs on each other.]",
        "{Wintro} [had heard them|saw them] and said, \"[A {obj} is no fun alone.|What is a {obj} without a friend?] [Why do you not take turns?|Why do you not share it?]\" {H} thought about it. \"[You are right|That is true],\" {he} said. \"{F}, I am sorry. You can have the {obj} first.\" \"I am sorry, too,\" said {f}. \"[Let us share it|We can take turns].\"",
        "So they [took turns|shared the {obj}] and had [a lot of|twice as much] fun. [When the sun went down, they were best friends again.|In the evening they laughed about their quarrel.|They never quarrelled about the {obj} again.]"],
        summary="{h} and {f} quarrelled about {a} {obj} and then learned to share it", lesson="[Sharing is better than quarrelling.|Things are more fun when you share them.]", problem="{h} and {f} both wanted the {obj}", helper="{w}", mood="happy"),
    dict(id="stuck", worlds="land", needs="", theme=["helping others", "a rescue"], paras=[
        "{He} liked to [take long walks|look for flowers|explore] {inplace}. [{He} always looked where {he} was going.|{He} knew every tree and every stone there.|There was something new to see every day.]",
        "[One day|One rainy day|One afternoon], {h} heard a cry. \"Help me, please!\" {He} [went closer|followed the sound] and saw {fintro}. {F} was stuck [in the deep mud|between two rocks|in a hole|under a heavy branch] and could not get out. \"[Do not worry|Stay calm|Be brave]. I will help you,\" said {h}. {He} pulled and pulled, but {f} did not move.",
        "{H} [thought hard|sat down and thought]. Then {he} had an idea. {He} found a long [rope|stick|branch] {spot2}. \"Hold on to this,\" {he} said. {F} held on, and {h} pulled [as hard as {he} could|with all {his} strength]. One, two, three! [Out came {f}!|{F} was free!]",
        "\"Thank you! [I will never forget this|You saved me],\" said {f}. [A few days later, {h} slipped near the river, and {f} came to help. \"Now I can help you,\" {f} said.|They went home together and ate {food}.|From that day on, they always looked after each other.]"],
        summary="{f} was stuck and {h} pulled {fhim} out", lesson="[A good idea is stronger than strong arms.|When you help others, they will help you.]", problem="{f} was stuck", helper="{h}", mood="glad"),
    dict(id="gift", worlds="land sea", needs="obj", theme=["a birthday", "a present", "giving a {obj}"], paras=[
        "{His} best friend was {fintro}. [Tomorrow was {f}'s birthday.|{F}'s birthday was coming soon.] {H} wanted to give {f} [a beautiful present|something special], but {he} had no money.",
        "{He} [thought about it all day|thought and thought]. Then {he} remembered [that {f} had always wanted {a} {obj}|how much {f} wanted {a} {obj}]. \"I can make one myself!\" {h} said. {He} went to {place} to look for [the right things|what {he} needed]. {He} worked [all day|until late at night|very hard]. At first it [broke|looked strange|fell apart], but {h} tried again and again. At last {he} had made {a} [beautiful|lovely|wonderful] {xobj}.",
        "[The next day|On the birthday], {h} [gave the {obj} to {f}|brought the {obj} to {f}]. {He} was a little [nervous|shy]. \"I made it for you,\" {he} said. {F} [looked at it with big eyes|was very surprised]. \"[This is the best present of all|It is the most beautiful {obj} in the world], because you made it yourself,\" said {f}.",
        "[They hugged and ate cake together.|They played and sang until the evening.|Then they had a big party with all their friends.] {H} was [very happy|happy and proud]."],
        summary="{h} made {a} {obj} for {f}'s birthday", lesson="[A present made with love is the best present.|The best gifts come from the heart.]", problem="{h} had no money for a present", helper="{h}", mood="happy and proud"),
    dict(id="storm", worlds="land", needs="", theme=["a storm", "a rainy night", "good neighbours"], paras=[
        "{His} house was small but [cosy|warm|dry], and {he} [liked it very much|was happy there]. {His} neighbour was {fintro}, who lived {inplace}.",
        "[One night|One evening], a big storm came. The wind howled, the rain fell and the thunder was very loud. {H} [sat by the fire|lay in bed] and listened. [Suddenly|Then], someone knocked at the door. It was {f}, wet and cold. \"The storm has [blown away my roof|broken my house],\" {fhe} said. \"[May I come in?|I do not know where to go.]\"",
        "\"Of course! Come in,\" said {h}. {He} gave {f} [a warm blanket|a dry towel] and some [hot soup|warm milk|hot tea]. They told each other stories until the storm was over. [The house was small, but there was room for two.|It was almost cosy.]",
        "The next morning the sun was shining. {H} called all the neighbours, and together they [built a new roof|mended the house]. \"Thank you, {h},\" said {f}. \"[A good neighbour is better than a strong roof.|You have a big heart.]\" [And that evening they all had dinner together.|They stayed good friends for ever.]"],
        summary="a storm broke {f}'s house, and {h} gave {fhim} a place to stay", lesson="[Good neighbours help each other.|There is always room for a friend.]", problem="a storm broke {f}'s house", helper="{h}", mood="thankful"),
    dict(id="truth", worlds="land", needs="", theme=["telling the truth", "a broken vase", "honesty", "a lie"], paras=[
        "{H} liked to play [inside|in the house] when it rained. \"Please be careful with the {thing},\" {mom} always said. \"It is very old.\"",
        "[One day|One afternoon], {h} [ran around the table|played with a ball]. Crash! The {thing} fell down and broke into [many|a hundred] pieces. {H} was [scared|afraid]. {He} quickly hid the pieces {hidespot}. [Soon|In the evening], {mom} came home from {place}. \"Where is the {thing}?\" {mom} asked. \"[I do not know],\" said {h}. [{His} face felt hot.|{He} looked at the floor.]",
        "That night {h} could not sleep. [There was a heavy feeling in {his} heart.|{He} felt very bad about the lie.] [At last|In the end], {he} got up and said, \"I broke the {thing}. I am so sorry that I lied.\" {Mom} was quiet for a moment. Then {mom} [hugged {him}|smiled] and said, \"[I am glad that you told me the truth|Thank you for telling the truth]. That was brave.\"",
        "The next day they [glued the pieces together|mended the {thing} together]. [It did not look new, but {h} liked it even more.|It had many cracks, but it stood on the table again.] {H} felt [light|happy] again, and {he} never told a lie after that."],
        summary="{h} broke {a} {thing}, told a lie and then told the truth", lesson="[It is always better to tell the truth.|The truth makes the heart light.]", problem="{h} broke the {thing} and lied about it", helper="{mom}", mood="relieved"),
    dict(id="learn", worlds="land", needs="skill", theme=["learning to {skill}", "learning something new", "never giving up"], paras=[
        "{H} wanted to learn to {skill}. {He} had seen others do it {inplace}, and it looked [so easy|wonderful|like so much fun]. \"I want to do that, too,\" {he} said.",
        "[The next day|One morning], {h} tried to {skill} for the first time. [It went very badly.|It did not work at all.|It was much harder than {he} had thought.] [Some others laughed.|{H} wanted to give up.] \"I will never learn it,\" {he} said [sadly|with tears in {his} eyes].",
        "{Fintro} [heard this|came to {him}] and said, \"[Nobody can do it on the first day.|Everyone begins with mistakes.] [I will show you how.|Let us practise together.]\" So every day {h} and {f} practised {inplace}. [Monday was hard. Tuesday was better. On Sunday it almost worked.|Day by day, it became a little easier.] {H} made many mistakes, but {he} did not give up.",
        "[At last|After two weeks|One fine day], {h} could {skill} [very well|all alone|as if it were easy]! Everybody clapped. \"[I did it!|I can do it!]\" {he} shouted. \"[I knew you could,|I always believed in you,]\" said {f}, and they both laughed."],
        summary="{h} learned to {skill} with the help of {f}", lesson="[Practice makes perfect.|Never give up too soon.]", problem="{h} could not {skill}", helper="{f}", mood="proud"),
    dict(id="race", worlds="land sea", needs="", theme=["a race", "winning", "a contest"], paras=[
        "{H} was very fast, and {he} [liked to tell everyone about it|was proud of it]. \"Nobody is as fast as I am,\" {he} said every day. {His} neighbour, {fintro}, was slow but [patient|steady].",
        "[One day|One morning], {f} said, \"Let us have a race to {place}.\" {H} laughed. \"A race with you? [That will be easy!|I can win that in my sleep!]\" [Everyone came to watch.|All the neighbours came.] \"One, two, three, go!\" {H} [was far ahead at once|shot away like the wind]. Soon {he} could not see {f} any more.",
        "\"I have a lot of time,\" thought {h}. So {he} stopped to eat some {food} and [to take a nap|to have a little rest]. [{He} closed {his} eyes and fell asleep.|It was warm, and soon {he} was asleep.] {F} went on and on, slowly but surely, and never stopped. When {h} woke up, [{he} hurried on as fast as {he} could|{he} raced on], but it was too late. {F} had won the race!",
        "{H} was [ashamed|very surprised]. \"You have won,\" {he} said. \"[I was too proud|I should not have laughed at you].\" {F} smiled. \"[It was a good race|You are fast, and I am steady]. Let us [be friends|eat some {food} together].\" And so they did."],
        summary="{h} was too proud in a race against {f} and lost", lesson="[Slow and steady wins the race.|It is not good to be too proud.]", problem="{h} was too proud and fell asleep in the race", helper="{f}", mood="ashamed but wiser", winner="{f}"),
    dict(id="wayhome", worlds="land sea", needs="", theme=["getting lost", "finding the way home"], paras=[
        "{His} {momk} always said, \"Do not go too far from home.\" But {h} was [very curious|so curious]. {He} wanted to know [what was on the other side of {place}].",
        "[One day|One morning], {h} followed a [strange sound|shiny light] all the way to {place}. [{He} went on and on.|{He} did not look back.] When {he} stopped, {he} did not know where {he} was. [Everything looked strange.|It was getting dark.] \"I am lost,\" {h} said and began to cry.",
        "{Wintro} heard {him}. \"Why are you crying, little one?\" asked {w}. \"I cannot find my way home,\" said {h}. \"[Tell me what you can see from your home|What is near your home]?\" asked {w}. {H} thought. \"There is {a} [big white rock|tall stone with a hole in it],\" {he} said. \"[I know that place|Ah, I know where that is]. Come with me,\" said {w}. Together they went [slowly|a long way] until {h} could see {his} home.",
        "[\"There you are!\" cried {mom} and hugged {him}.|{Mom} was waiting and hugged {him} for a long time.] {H} thanked {w}. \"[Next time I will not go so far|I will never go so far alone again],\" {he} said. [That night {he} slept very well.|It was good to be home.]"],
        summary="{h} went too far from home and {w} showed {him} the way back", lesson="[Do not go too far from home alone.|It is good to ask for help.]", problem="{h} was lost", helper="{w}", mood="safe and happy"),
    dict(id="magic", worlds="land sea", needs="obj", theme=["magic", "a magic {obj}", "a wish"], paras=[
        "[One day|One morning|One quiet evening], {h} found an old {obj} {spot} {inplace}. It was [dusty|covered with sand|a bit dirty], so {he} cleaned it. Suddenly the {obj} began to shine. \"I am a magic {obj},\" it said. \"You have one wish.\"",
        "{H} was very excited. \"I could wish for [gold|a mountain of {food}|a big castle],\" {he} thought. [{He} thought about it all day.|It was hard to choose.] Then {he} saw {fintro}. {F} was [ill|very sad|hungry and cold]. {H} looked at the {obj} and then at {f}. [Now {he} knew what to wish for.|Suddenly it was easy to choose.]",
        "\"I wish that {f} was [well and happy|happy and had all {fhe} needs],\" said {h}. There was a bright light, and {f} [began to smile|laughed for joy]. \"I feel wonderful! What happened?\" asked {f}. The {obj} did not shine any more. The magic was gone.",
        "\"You gave me your only wish,\" said {f}. \"Are you not sad?\" \"No,\" said {h}. \"[Now I have a friend, and that is better than gold|I am happy when you are happy].\" [They kept the old {obj} for ever.|And the {obj}? It stood in {h}'s home for many years.]"],
        summary="{h} found a magic {obj} and used the only wish to help {f}", lesson="[A friend is worth more than gold.|It is good to think of others.]", problem="{h} had only one wish", helper="{h}", mood="happy"),
    dict(id="garden", worlds="land", needs="", theme=["patience", "a garden", "a little seed", "growing a flower"], paras=[
        "[One spring day|One day in spring|One morning], {h} found a tiny seed {inplace}. \"I will plant it,\" {he} said. {He} dug a [small|little] hole, put the seed inside and gave it some water.",
        "The next day {h} looked, but there was nothing to see. {He} looked again on [Tuesday|Wednesday] and on [Friday|Saturday]. There was only brown earth. \"[My seed does not work|It will never grow],\" {h} said. {He} was [very sad|angry] and wanted to dig it up.",
        "\"Wait,\" said {f}, {fintro2}. \"[Good things need time|A seed needs time, water and sun]. [Give it water every day and be patient.|Do not dig it up. Just wait.]\" So {h} waited. {He} watered the seed every [day|morning] and [sang a little song for it|talked to it].",
        "[After three weeks|One warm morning], {h} saw something green. It was a tiny leaf! Day by day the plant grew taller, and in summer it had a [big yellow flower|lovely red flower|hundred white flowers]. \"[You were right|It was worth the wait],\" {h} said to {f}, and they sat [in the sun|next to it] and were happy."],
        summary="{h} planted a seed and learned to wait until it grew", lesson="[Good things need time.|Be patient and do not give up.]", problem="the seed did not grow at once", helper="{f}", mood="happy"),
    dict(id="winter", worlds="land", needs="", theme=["winter", "sharing food", "a cold winter", "hunger"], paras=[
        "It was autumn, and {h} gathered {wfood} for the winter {inplace}. {He} worked [every day|from morning to evening]. {His} friend, {fintro}, only [played and sang|slept in the sun]. \"Come and help me,\" said {h}. \"[Winter is far away|I will do it tomorrow],\" said {f}.",
        "Then winter came. [Snow fell|Snow covered everything], and it was very cold. {H} sat in {his} warm home and had plenty of {wfood}. One [night|evening], there was a soft knock at the door. It was {f}. \"I am so hungry and cold,\" said {f}. \"[I should have listened to you.|I have nothing to eat.]\"",
        "{H} thought [for a moment|about it]. {He} had worked so hard. But then {he} looked at {his} friend and said, \"Come in. There is enough for two.\" They ate {wfood} by the fire, and {f} felt [warm|much better]. [\"Thank you. You are so kind,\" said {f}.|\"I will never forget this,\" said {f}.]",
        "[When spring came|The next autumn], {f} was the first one at work. \"[This time I will help you|I have learned something],\" {f} said. Together they gathered even more {wfood}, and [in the evening there was still time to sing|they still had time to play]."],
        summary="{h} gathered {wfood} for the winter and shared it with {f}", lesson="[First work, then play.|It is good to share with those who have nothing.]", problem="{f} had nothing to eat in winter", helper="{h}", mood="warm and happy"),
    dict(id="noise", worlds="land", needs="", theme=["a strange noise", "a mystery", "a strange night"], paras=[
        "[One night|One dark night], {h} woke up. There was a strange noise [outside|at the window|behind the door]. Tap, tap, tap. \"[What is that?|Who is there?]\" {h} whispered. [Nobody answered.|It was quiet for a moment.] Then it came again. Tap, tap, tap.",
        "\"Maybe it is a [monster|ghost|giant],\" thought {h} and hid under the blanket. But {he} was also [very curious|curious]. So {he} [took a lamp|lit a candle] and [opened the door a little|went to the door]. {He} [could see only the dark garden|saw nothing but the moon]. Tap, tap, tap. The noise was very near now.",
        "{H} was brave and [looked {spot}|went outside]. And what did {he} see? It was {f}, {fintro2}! {F} was [shaking with cold|very cold]. \"[I am sorry that I woke you|I did not want to scare you],\" said {f}. \"I lost my way {inplace}, and I saw your light.\" {H} began to laugh. \"[I thought you were a monster!|And I was so afraid!]\" {he} said.",
        "{H} gave {f} [some warm milk|a cup of tea] and a soft bed. [In the morning they had breakfast together.|The next day {h} showed {fhim} the way home.] [After that, {h} was never afraid of strange noises again.|And when it goes tap, tap, tap now, {h} just opens the door and smiles.]"],
        summary="{h} heard a strange noise at night, and it was only {f} who was lost", lesson="[Things are often less scary when you look at them.|Be brave and look before you are afraid.]", problem="there was a strange noise at night", helper="{h}", mood="glad"),
    dict(id="cake", worlds="land", needs="", theme=["a cake", "baking", "cooking", "a party"], paras=[
        "{H} wanted to bake a cake for the big party {inplace}. {He} put flour, eggs, butter and milk into a big bowl. {His} friend {f}, {fintro2}, came to help. \"Now we need [a lot of sugar|some sugar],\" said {h}.",
        "{F} took a white [bag|jar] from the shelf, and they put it all in. The cake smelled [wonderful|so good]. But when {h} tried a little piece, {he} made a [terrible|funny] face. \"[Oh no!|Ugh!] This is not sugar. It is salt!\" {F} was [very sorry|ashamed]. \"I have spoiled the cake,\" {fhe} said. \"And the party begins [in one hour|soon]!\"",
        "\"[Do not worry|Never mind],\" said {h}. \"[Everyone makes mistakes.|We can bake another one.] Let us work quickly.\" This time {f} [tasted the sugar first|looked twice]. They mixed and stirred, and soon a second cake was in the oven. They put {fruit} on top, and it looked [lovely|even better than the first one].",
        "At the party everybody [ate two pieces|loved the cake]. \"This is the best cake ever! What is the secret?\" [they asked|asked the guests]. {H} and {f} looked at each other and laughed. \"[No salt!|The secret is to taste first!]\" they said."],
        summary="{h} and {f} baked a cake with salt by mistake and then baked a better one", lesson="[Everyone makes mistakes, and you can try again.|Look twice before you begin.]", problem="they put salt into the cake", helper="{f}", mood="merry"),
    dict(id="build", worlds="land", needs="", theme=["building a house", "building something", "working together"], paras=[
        "{H} wanted to build a {building} {inplace}. \"I can do it all alone,\" {he} said. \"I do not need any help.\"",
        "{He} [carried wood|hammered and sawed] all day. {Fintro} came by and asked, \"Can I help you?\" \"No, thank you,\" said {h}. [In the evening|On the next day], the {buildk} was ready. But then a [little wind|strong wind] came, and crash! The {buildk} fell down. {H} [sat down and was very sad|wanted to cry].",
        "{F} did not laugh. \"[Your idea is good|It is a good plan],\" said {f}. \"But some work needs [more than two hands|two friends]. You hold the wood, and I will [hammer|tie it with a rope].\" So they worked together. [{H} had good ideas, and {f} was very careful.|They sang while they worked.] This time the {buildk} was [strong|strong and straight].",
        "The wind came again, but the {buildk} did not move. \"[We did it!|Look, it stands!]\" shouted {h}. \"Thank you, {f}. Alone I was [quick|proud], but together we are strong.\" [They painted it red and blue and had a party.|And they sat down there and ate {food}.]"],
        summary="{h} could not build {a} {buildk} alone and built it together with {f}", lesson="[Together we are stronger.|It is not bad to need help.]", problem="the {buildk} fell down", helper="{f}", mood="happy"),
    dict(id="treasure", worlds="land sea", needs="obj", theme=["a treasure", "a treasure map", "an adventure"], paras=[
        "[One day|One morning], {h} found an old map {spot}. There was a red cross on it. \"It is a treasure map!\" {he} shouted. {He} showed it to {f}, {fintro2}. \"[Let us find the treasure!|Let us go at once!]\" said {f}.",
        "The map led them to {place}. The way was [long and hard|very long]. [First|On the way] they had to [pass a narrow gap|get past some big stones|find the way in the fog]. {F} was [tired|afraid], but {h} said, \"[We can do it together|Come on, we are almost there].\"",
        "At last they found the place with the cross. They dug and dug until they found [an old box|a wooden chest]. They opened it slowly. There was no gold inside. There was only {a} {xobj} and a [letter|note]. It said: \"[You have found a friend on the way. That is the real treasure.|The real treasure is the one who came with you.]\"",
        "{H} and {f} looked at each other and [laughed|smiled]. \"[It is true|The note is right],\" said {h}. [They took the {obj} home and told everyone about their adventure.|They kept the {obj} to remember that day.] [It was the best day of all.|And they are still best friends today.]"],
        summary="{h} and {f} followed a treasure map and found {a} {obj} and a note about friendship", lesson="[Friends are the real treasure.|A friend is worth more than gold.]", problem="the way to the treasure was long and hard", helper="{f}", mood="happy"),
    dict(id="stranger", worlds="land", needs="", theme=["kindness", "being kind", "helping a stranger"], paras=[
        "[One cold morning|One day|One hot day], {h} was on {his} way to {place}. {He} had only a little [bread|piece of bread] for lunch. [At the side of the road|Under a tree] sat an old {ow} who looked [very tired|hungry]. \"Please, [do you have something to eat?|can you help me?]\" asked the old {ow}.",
        "{H} was hungry, too. But {he} [gave half of {his} bread to the old {ow}|shared {his} bread]. Then {he} carried the heavy bag for the old {ow}, all the way up the hill. \"You have a kind heart,\" said the old {ow}. \"Take this little bell. Ring it when you need help.\"",
        "[Some days later|A week later|In winter], {h} got lost in [the fog|the snow|a storm]. {He} could not see anything. {He} was [cold and afraid|very afraid]. Then {he} remembered the bell and rang it. Ding, ding! [At once|Soon] {he} saw a light, and there was the old {ow}. \"[Come with me|Follow my light],\" said the old {ow} and brought {him} home.",
        "{H} [thanked the old {ow} again and again|was safe and warm again]. [\"You helped me first,\" said the old {ow} and smiled.|The old {ow} only smiled and went away.] {H} kept the bell for ever, and {he} was always kind to strangers."],
        summary="{h} shared {his} bread with an old {ow}, who later saved {him}", lesson="[Kindness always comes back.|A small kind act can become a big one.]", problem="{h} got lost", helper="the old {ow}", mood="thankful", nofriend=True),
    dict(id="trip", worlds="land", needs="", theme=["a journey", "a trip to {place}", "a trip"], paras=[
        "{H} had never seen {place}. \"[One day I will go there|I want to see it with my own eyes],\" {he} often said. [One fine morning|One summer day], {he} packed a bag with {food} and a [warm blanket|bottle of water] and set off with {f}, {fintro2}.",
        "The journey was long. They went [over a bridge|past a windmill], [past green fields|through a dark wood] and up a steep hill. At noon it began to rain, and they [waited under a tree|found a dry cave]. \"[Maybe we should go home,|I am so tired,]\" said {f}. \"[Just a little more|Only one more hill],\" said {h}.",
        "When the rain stopped, there was a rainbow in the sky. And below the rainbow they saw {place}! It was [even more beautiful than {h} had dreamed|wonderful]. They played {inplace} all afternoon, ate their {food} and [looked at everything|made new friends].",
        "In the evening they went home, tired and happy. \"What a [wonderful|lovely] day,\" said {f}. \"[And tomorrow?|Where shall we go next?]\" asked {h}. But {f} was already asleep."],
        summary="{h} and {f} made a long journey to see {place}", lesson="[It is worth going one step more.|A journey is best with a friend.]", problem="the way was long and it began to rain", helper="{f}", mood="tired and happy"),
    dict(id="sick", worlds="land", needs="", theme=["a sick friend", "caring for a friend"], paras=[
        "{H} and {f}, {fintro2}, met {inplace} every [morning|day]. But one [Monday|day], {f} did not come. {H} waited and waited. \"Something must be wrong,\" {he} thought.",
        "{He} went to {f}'s home and knocked. {F} was in bed with a [red nose|bad cold]. \"I am ill,\" {f} said [in a small voice|sadly]. \"[I cannot play today.|And it is so boring to lie in bed.]\" {H} felt sorry for {his} friend. \"[I have an idea|I will be back soon],\" {he} said.",
        "{H} cooked [hot soup|soup and tea] and picked [some flowers|a flower] {inplace}. Then {he} sat down next to the bed and told a funny story about {a} [king who lost his trousers|giant who was afraid of mice|cow that wanted to dance]. {F} laughed so much that {fhe} forgot [to be ill|about the cold]. Every day {h} came back with soup and a new story.",
        "[After a week|Soon], {f} was well again. \"[Your soup was good, but your stories were the best medicine|A good friend is the best medicine],\" said {f}. And they [ran|went] out to play [in the sun|together]."],
        summary="{f} was ill, and {h} took care of {fhim} with soup and stories", lesson="[A good friend is the best medicine.|Friends take care of each other.]", problem="{f} was ill", helper="{h}", mood="glad"),
    dict(id="hatwind", worlds="land", needs="light", theme=["the wind", "a windy day"], paras=[
        "[One windy day|One day in autumn], {h} was {inplace} with {his} new {obj}. Suddenly a strong wind came and [carried the {obj} away|blew the {obj} out of sight]. \"Stop! Come back!\" shouted {h}, but the wind did not listen.",
        "{H} ran after it. The {xobj} flew over a fence, over a [field|garden] and into a tall tree. It was too high. {H} [jumped|tried to climb up|threw little stones], but {he} could not reach it. [\"What can I do now?\" {he} said sadly.|{He} sat down under the tree and sighed.]",
        "Then {fintro} came along. \"[I can help you|I have an idea],\" said {f}. \"[Climb on my back.|You can stand on my back.]\" {H} climbed up and stretched as far as {he} could. A little more, a little more, and then {he} [had the {obj} again|could reach the {obj}]! [But then they both fell down into the soft grass.|They wobbled and fell into a heap of leaves.] They looked at each other and laughed.",
        "\"Thank you,\" said {h}. \"[Alone I am small, but with you I am tall|Together we are taller than one alone].\" [They tied a string to the {obj} and went home together.|The wind blew again, but this time {h} held the {obj} tight.]"],
        summary="the wind blew away {h}'s {obj}, and {f} helped {him} to get it back", lesson="[Together you can reach higher.|Two friends can do more than one.]", problem="the wind blew away {h}'s {obj}", helper="{f}", mood="merry", found=True),
    dict(id="dragon", worlds="land", needs="", theme=["a dragon", "a king", "not judging others", "a castle"], hero="any", villain=True, paras=[
        "Everyone {inplace} was afraid of the [big|old|terrible] {v} who lived in the mountains. \"[It eats everything|It is dangerous],\" people said. At night they heard it roar. [The king promised a bag of gold to anyone who could make it stop.|Nobody could sleep.]",
        "[One day|One morning], {h} said, \"I will go and talk to the {v}.\" [Everyone laughed.|Everyone was afraid for {him}.] {He} took a basket of {food} and climbed up the mountain. [The way was steep.|It took all day.] At last {he} came to a dark cave. \"Hello? Is anyone there?\" called {h}. Two big eyes opened in the dark.",
        "\"Are you not afraid of me?\" asked the {v}. \"A little,\" said {h}. \"Why do you roar every night?\" The {v} began to cry. \"[I have a thorn in my foot|I have a bad toothache]. It hurts so much,\" it said. \"[Nobody ever asked me.|Everyone runs away.]\" \"Poor {v}! Let me help you,\" said {h}. {He} [worked very carefully|was very gentle], and soon the pain was gone.",
        "The {v} [smiled|laughed for joy]. They ate the {food} together and [became friends|talked all night]. From then on, nobody heard it roar. [In winter the {v} kept the whole village warm with its breath.|On Sundays it came down and played with the children.]"],
        summary="everyone was afraid of a {v}, but {h} found out that it was in pain and helped it", lesson="[Ask before you are afraid of someone.|Do not judge others before you know them.]", problem="everyone was afraid of the {v}", helper="{h}", mood="happy", nofriend=True),
    dict(id="star", worlds="land", needs="", theme=["a star", "the night sky", "a fallen star", "the moon"], paras=[
        "[One night|One clear night], {h} looked up at the sky and saw a star fall. It fell {inplace}, not far away. {H} ran there as fast as {he} could. {Spot} lay a [tiny|little] star. It was [shaking|crying]. \"I have fallen from the sky,\" it said. \"And I do not know how to get back.\"",
        "{H} picked up the star very carefully. \"[Do not cry|Do not be afraid], little star. I will help you,\" {he} said. [First|So] {he} climbed the highest tree, but the sky was still too far away. Then {he} threw the star [up high|into the air], but it came down again. The light of the star became weaker and weaker.",
        "Then {f}, {fintro2}, came and said, \"[Stars are made of joy.|I have heard that stars fly when they are happy.] [Maybe we must make it laugh|Let us make it happy].\" So {h} and {f} sang [funny songs|a song], danced and told jokes. The star began to giggle. It laughed more and more, it shone brighter and brighter, and slowly it rose up into the sky.",
        "\"Thank you!\" called the star. Now it is back in its place. [And when {h} looks up at night, one star always winks.|Every night it shines over {h}'s home.]"],
        summary="{h} found a fallen star and brought it back to the sky by making it laugh", lesson="[Joy makes us light.|A little joy can do great things.]", problem="a star had fallen from the sky", helper="{f}", mood="happy"),
    dict(id="song", worlds="land", needs="", theme=["music", "a song", "being yourself", "being different"], paras=[
        "{H} loved to sing. But {his} voice was [very deep|very high|a little strange], and the others [laughed at {him}|said, \"Please be quiet\"]. So {h} [stopped singing|sang only when {he} was alone].",
        "[One day|One evening], a thick fog came to {place}. Nobody could see anything. {F}, {fintro2}, [had not come home|was still out there]. Everyone called {fhis} name, but {f} [did not hear them|was too far away].",
        "Then {h} had an idea. {He} [took a deep breath|went to the highest place] and sang as loudly as {he} could. {His} strange voice went through the fog like no other voice. Far away, {f} heard it and [followed the song|came closer and closer]. [Soon|At last], {f} was home again.",
        "\"Your voice [saved me|brought me home],\" said {f}. Nobody laughed any more. \"[Please sing for us|Sing another song],\" they all said. And {h} sang [until the stars came out|all evening], and everyone {inplace} listened."],
        summary="{h} had a strange voice and used it to bring {f} home through the fog", lesson="[What makes you different can be your gift.|Be proud of who you are.]", problem="{f} was lost in the fog", helper="{h}", mood="proud"),
    dict(id="dream", worlds="land", needs="", theme=["a dream", "going to sleep", "bedtime"], paras=[
        "It was late, but {h} could not sleep. {He} [turned left and right|counted to one hundred]. \"[I am not tired at all|Sleep is boring],\" {he} said.",
        "\"Then let us talk about a nice dream,\" said {mom}. \"Close your eyes. Where do you want to go?\" \"To {place},\" said {h}. \"[And who is with you?|Who will come along?]\" \"{F}, of course. {F} is my best friend.\" \"And what do you see {inplace}?\" asked {mom}.",
        "{H} [smiled|thought for a moment]. \"There is a mountain of {food}, and we can eat as much as we like,\" {he} said [slowly|quietly]. \"And {a} {xobj} as big as a house. And then we [fly|float] up to the moon, and the moon says, 'Good evening.'\" {H}'s voice became softer and softer.",
        "\"And what does the moon look like?\" asked {mom}. But {h} did not answer. {He} was fast asleep. [{Mom} kissed {him} good night and turned off the light.|{Mom} smiled and said, \"Sleep well, my dear.\"]"],
        summary="{h} could not sleep until {he} talked about a nice dream", lesson="[A nice thought is a good pillow.|Nice dreams help us to sleep.]", problem="{h} could not sleep", helper="{mom}", mood="sleepy and safe"),
    dict(id="outing", worlds="land", needs="", theme=["a picnic", "a nice day", "a day out"], direct=True, paras=[
        "One [day|morning|sunny day|afternoon], {h} went to {place} with {his} friend {f}, {fintro2}. They had a basket with {food} and [a blue blanket|a bottle of juice|a ball]. [The sun was shining.|It was a lovely day.] \"[Today will be a good day|This is the best place of all],\" said {h}.",
        "They found a nice spot and sat down. But when they wanted to eat, the basket was empty! \"Who has taken our {food}?\" asked {h}. {F} saw some crumbs on the ground. \"[Look! We can follow the crumbs|Let us follow them],\" said {f}. So they followed the crumbs, step by step, [around a big stone|past a little stream|through the tall grass].",
        "{Spot} sat {wintro} with {food} all around. \"[Oh dear|Oh]! Was that yours?\" said {w}. \"I am so sorry. I had not eaten for two days.\" {H} looked at {f}, and {f} looked at {h}. They were not angry any more. \"There is enough for three,\" said {h}. \"[Come and eat with us|Let us share it].\"",
        "So they sat down together, ate the {food} and [told each other stories|sang songs|laughed a lot]. {W} knew all the [best|old] stories {inplace}. When the sun went down, {h} and {f} went home. \"[That was a lovely day,|What a day,]\" said {f}. \"And now we have a new friend,\" said {h}."],
        summary="{h} and {f} went to {place}, and somebody took their {food}", lesson="[It is better to share than to be angry.|A shared meal makes new friends.]", problem="somebody took their {food}", helper="{f}", mood="happy"),
    dict(id="boat", worlds="land", needs="", theme=["a boat trip", "a small island", "crossing the water"], direct=True, paras=[
        "One [day|morning|summer day], {h} and {fintro} built a little boat out of [old boxes|wood and rope]. \"[It is the best boat in the world|It will carry us far],\" said {h}. They sat down in it and sailed [across the water|away], with some {food} for lunch.",
        "At first everything went well. [The water was calm|The wind was warm], and they sang. But then {f} said, \"My [feet|toes] are wet.\" There was a hole in the boat! The water came in, [slowly at first and then faster|more and more]. \"What shall we do?\" cried {f}.",
        "{H} looked around. \"[We need something to close the hole|Let me think],\" {he} said. {He} tried a leaf, but it was too thin. {He} tried {his} hat, but it was too big. Then {f} took [a piece of bread|some sticky honey] and [pressed it into the hole|put it on the hole]. The water stopped! \"[You saved us|That was a wonderful idea]!\" said {h}.",
        "They came safely to {place} and [danced for joy|lay down in the sun]. \"Next time we will look for holes first,\" said {f}, and they both laughed. [In the evening they walked home along the water.|They had to walk all the way home, but they did not mind.]"],
        summary="{h} and {f} built a boat, and it had a hole", lesson="[Stay calm and think when there is trouble.|Look before you leave.]", problem="there was a hole in the boat", helper="{f}", mood="glad"),
    dict(id="messy", worlds="land", needs="obj", theme=["tidying up", "a messy room"], paras=[
        "{H} had a very messy room. There were [socks|books] on the chair, [toys|paper] under the bed and crumbs everywhere. \"Please tidy up,\" said {mom}. \"[Later|Tomorrow],\" said {h} every time.",
        "[One day|One Saturday], {f}, {fintro2}, came to the door. \"[Come quickly|Hurry]! There is a [big party|concert|fair] {inplace}, and everyone brings {a} {obj}.\" {H} had {a} {xobj}, but where was it? {He} looked under the bed, behind the chair and in the cupboard. {He} could not find it in all that mess.",
        "\"I will help you,\" said {f}. \"But we must tidy up to find it.\" So they picked up [the socks|the books], [the toys|the paper] and the crumbs. They put everything in its place. And under the very last heap was the {obj}! The room looked [lovely|wonderful] now.",
        "They ran to {place} and came just in time. [It was a lot of fun.|They sang and danced.] In the evening {h} said to {mom}, \"[From now on I will tidy up every day|It is nice to have a tidy room].\" {Mom} was very [surprised|happy]."],
        summary="{h} had to tidy up {his} messy room to find the {obj}", lesson="[A tidy room saves time.|Do not put off until tomorrow what you can do today.]", problem="{h} could not find {his} {obj} in the messy room", helper="{f}", mood="happy", found=True),
]
# Plots whose hero is a thing: a train, a cloud, a kite.
THING_PLOTS = [
    dict(id="small", theme=["being small", "never giving up", "being brave"], paras=[
        "Every day {h} {does}. {He} was [the smallest of all|smaller than all the others|not very strong], and the big ones laughed. \"You are too small for important work,\" they said.",
        "[One day|One stormy day], there was trouble. {F}, {fintro2}, was ill and needed medicine from {place}. \"[The way is too narrow for us|We are too big for that way],\" said the big ones. \"I will try it,\" said {h}. {His} voice was small, but [{he} meant it|{his} heart was big].",
        "The way was hard. The wind blew against {him}, and the rain fell. [\"I can do it, I can do it,\" {h} said again and again.|\"A little more, a little more,\" {h} said.] {He} was so tired that {he} almost stopped. But {he} thought of {f} and went on. At last {he} [came to {place}|saw the lights of {place}] and brought the medicine back just in time.",
        "{F} was soon well again. \"Thank you, {h},\" said {f}. The big ones were quiet now. [Nobody ever laughed at {h} again.|\"You are small, but you have a big heart,\" they said.]"],
        summary="{h} was small but brought medicine for {f}", lesson="[Even the small can do great things.|A big heart is more important than a big body.]", problem="{f} was ill and needed medicine", helper="{h}", mood="proud"),
    dict(id="other", theme=["being yourself", "wishing to be someone else"], paras=[
        "{H} {does}. But {he} was not happy. \"I want to be something else,\" {he} said. \"I want to be [as big as a mountain|as bright as the sun|as fast as the wind].\"",
        "[One day|One morning], {f}, {fintro2}, came along and looked sad. \"What is wrong?\" asked {h}. \"I want to go to {place},\" said {f}, \"but it is too far, and nobody can help me. [The mountain is big, but it cannot move.|The sun is bright, but it does not stop for me.|The wind is fast, but it does not wait for me.]\"",
        "\"[Maybe I can help you|Come with me],\" said {h}. So they went together, slowly and carefully. [They talked and laughed all the way.|On the way they sang a song.] In the evening they came to {place}. {F} was [so happy|full of joy]. \"You are [wonderful|just right], exactly as you are,\" {f} said.",
        "{H} thought about that for a long time. [\"I do not want to be anything else,\" {he} said at last.|From then on, {he} was happy to be {himself}.]"],
        summary="{h} wanted to be something else until {he} helped {f}", lesson="[You are just right as you are.|Be happy to be yourself.]", problem="{h} was not happy with {himself}", helper="{h}", mood="happy"),
    dict(id="alone", theme=["friendship", "being lonely", "making a new friend"], paras=[
        "Every day {h} {does}. But in the evening {he} was all alone. \"I wish I had someone to talk to,\" {he} said.",
        "[One evening|One quiet night], {h} heard a small voice. It was {f}, {fintro2}. \"I am lost,\" said {f}. \"I was {inplace}, and then it got dark.\" \"[Do not be afraid|You are safe here],\" said {h}. \"Stay with me until the morning.\"",
        "They talked all night. {H} told {f} about all the places {he} had seen, and {f} told {h} about [the flowers|the moon] {inplace}. [They laughed a lot.|They had so much to tell.] When the sun came up, {h} brought {f} safely home.",
        "\"[May I come back?|Can we talk again tomorrow?]\" asked {f}. \"Of course!\" said {h}. And so {f} came back every evening, and {h} was never alone again."],
        summary="{h} was alone in the evenings and made friends with {f}", lesson="[A friend can come when you least expect it.|Nobody has to be alone.]", problem="{h} was lonely", helper="{f}", mood="happy"),
    dict(id="broken", theme=["helping others", "working together", "an accident"], paras=[
        "{H} {does}. {He} was [proud of {his} work|always on time|always in a good mood].",
        "[One day|One cold morning], something went wrong. {H} got stuck {inplace} and could not move [forward or back|at all]. {He} tried and tried. \"Who can help me now?\" {he} said sadly.",
        "{Fintro} saw {him}. \"I will help you,\" said {f}. {F} pushed and pulled, but it was not enough. So {f} called all {fhis} friends: a mouse, a [goat|dog], a [cow|horse] and even a tiny ant. \"All together now,\" said {f}. \"One, two, three!\" And {h} was free!",
        "\"Thank you all,\" said {h}. \"[You were wonderful|I will never forget this].\" To thank them, {he} took them all on a [long|wonderful] trip to {place2}. [Even the ant said that it was the best day of the year.|They sang all the way.]"],
        summary="{h} got stuck, and {f} and many friends helped {him}", lesson="[Together we are strong.|Even a tiny helper counts.]", problem="{h} got stuck", helper="{f}", mood="thankful"),
]

LIGHT_OBJECTS = ["hat", "scarf", "kite", "umbrella", "balloon", "letter", "map", "picture", "ribbon", "feather", "flag", "card", "postcard",
                 "envelope"]
SKILLS = ["swim", "dance", "sing", "paint", "ride a bike", "skate", "juggle", "whistle", "climb", "cook", "read", "play the drum",
          "play the flute", "bake bread", "jump over the stream", "write", "play the violin", "knit", "fish", "count to one hundred"]
HOMES = ["in a small house near the river", "at the edge of a big forest", "in a little house on a hill", "in a green valley", "near a quiet lake",
         "in a small village", "in a cosy cottage", "on the other side of the hills", "in a tiny town by the sea", "near a deep blue lake",
         "at the foot of a high mountain", "behind the old mill", "in a house with a red door", "near a wide meadow", "at the end of a long road"]
SEA_HOMES = ["in a cosy cave under the sea", "in the warm blue sea", "near a colourful reef", "deep down in the ocean", "in a quiet bay",
             "between two big rocks under the water", "in a small garden of seaweed", "in a clear lagoon"]
SPOTS = ["under a bush", "behind a big rock", "in the tall grass", "next to an old oak tree", "under a bridge", "behind the barn",
         "under a pile of leaves", "inside a hollow log", "near a wooden fence", "between two stones", "under a bench", "behind a tree",
         "at the side of the path", "in a hole in the ground", "under a big leaf", "behind a hedge"]
SEA_SPOTS = ["under a flat rock", "behind the seaweed", "inside an old shell", "near the coral", "between two rocks", "under a sunken boat",
             "on the white sand", "behind a big stone", "inside a dark hole", "next to a pink coral"]
WISE = ["owl", "turtle", "crow", "goat", "badger", "bear", "donkey", "raven", "toad", "goose"]
SEA_WISE = ["whale", "sea turtle", "seal", "crab", "octopus", "walrus"]
ADJS = ["little", "small", "young", "kind", "curious", "clever", "shy", "brave", "cheerful", "friendly", "quiet", "funny", "gentle", "lively", "tiny"]
TRAITS = ["{He} was [kind and curious|curious and brave|always cheerful|quiet but clever|a bit shy|friendly to everyone|full of ideas].",
          "{He} [loved|liked] to [play|sing|tell stories|laugh|explore|make things|look at the clouds|help others].",
          "{He} had [bright eyes|a kind smile|a big heart|a funny laugh] and was always [cheerful|curious|ready for an adventure].",
          "Everybody liked {him}, because {he} was [so kind|so funny|always friendly].",
          "{He} lived there with {momd} and had [many|lots of] dreams."]
OPENINGS = ["Once upon a time, there was {hintro}. {He} lived {home}.", "Once upon a time, there was {hintro} who lived {home}.",
            "Once upon a time, {hintro} lived {home}.", "Once upon a time, {home}, there lived {hintro}.",
            "Once upon a time, there lived {hintro}. {His} home was {home}.",
            "Once upon a time, in a faraway land, there was {hintro}.", "Long, long ago, there was {hintro}. {He} lived {home}.",
            "There once was {hintro} who lived {home}.", "{Home}, there lived {hintro}.", "A long time ago, {hintro} lived {home}.",
            "{Hintro} lived {home}.", "This is the story of {hintro} who lived {home}.", "One [fine|sunny|warm] morning, {hintro} was {inplace}."]
CLOSINGS = ["The end.", "And they all lived happily ever after.", "And that is the end of the story.", "The end, and good night."]


class Who:
    """A character of a story."""

    def __init__(self, g, kind, name=None, sex=None, adj=None, named=True, world="land"):
        self.kind = kind
        if sex is None and name in GIRLS + ANIMAL_GIRLS:
            sex = "f"
        elif sex is None and name in BOYS + ANIMAL_BOYS:
            sex = "m"
        if sex is None:
            sex = "f" if kind in FEMALE else "m" if kind in MALE else ("f" if g.chance(0.5) else "m")
        self.he, self.him, self.his = ("she", "her", "her") if sex == "f" else ("he", "him", "his")
        self.person = kind in PEOPLE
        if named and name is None:
            if self.person:
                name = g.pick(GIRLS if sex == "f" else BOYS)
            else:
                name = g.pick(ANIMAL_GIRLS if sex == "f" else ANIMAL_BOYS)
        self.name = name
        adj = adj or g.pick(ADJS)
        self.adj = adj
        if name:
            self.ref = name
            # "[named|called]" is chosen by the grammar.
            self.intro = g.say("{a} {adj}{kind} [named|called] {name}", a="a", adj=adj + " " if g.chance(0.7) else "", kind=kind, name=name)
        else:
            short = f"the {adj} {kind}" if g.chance(0.4) else f"the {kind}"
            self.ref = short
            self.intro = g.say("a {adj} {kind}", adj=adj, kind=kind)
        self.intro2 = g.say("a {adj} {kind}", adj=adj, kind=kind)
        if world == "sea":
            self.went = "swam"
        else:
            self.went = "went"


class Story:
    """A story: its text, and what can be asked about it."""

    def __init__(self, g, kind=None, name=None, sex=None, obj=None, place=None, friend=None, theme=None, plot=None, named=None, friend_name=None, hobby=None):
        if kind is None:
            kind = g.weighted([("girl", 12), ("boy", 12), (None, 40), ("being", 6), ("person", 10), ("thing", 6)])
            if kind is None:
                kind = g.any(ANIMALS)[0]
            elif kind == "being":
                kind = g.any(BEINGS)
            elif kind == "person":
                kind = g.any(PEOPLE)
            elif kind == "thing":
                kind = g.any(THINGS)[0]
            if (plot or obj or place) and (kind in THING or (kind in ANIMAL and ANIMAL[kind] in SEA) or kind == "mermaid"):
                kind = g.any(LAND)[0]
            if sex == "f":
                kind = "girl"
            elif sex == "m":
                kind = "boy"
        sea = (kind in ANIMAL and ANIMAL[kind] in SEA) or kind == "mermaid"
        world = "sea" if sea else "land"
        thing = kind in THING
        self.kind = kind
        if named is None:
            named = kind in ("girl", "boy") or name is not None or g.chance(0.75)
        h = Who(g, kind, name, sex, named=named, world=world)
        self.hero = h
        if thing:
            plots = THING_PLOTS
        else:
            plots = [p for p in PLOTS if world in p["worlds"]]
        if obj:
            wanted = ("obj", "light") if obj in LIGHT_OBJECTS else ("obj",)
            plots = [p for p in plots if p.get("needs") in wanted] or plots
        if theme:
            plots = [p for p in plots if theme in p["theme"]] or plots
        if plot:
            plots = [p for p in (THING_PLOTS if thing else PLOTS) if p["id"] == plot]
        if friend:
            plots = [p for p in plots if any("{fintro" in x.lower() for x in p["paras"])] or plots
        if place is None:
            place = g.pick(SEA_PLACES if sea else PLACES[:WILD])
        p = g.any(plots)
        if obj is None and p.get("needs") == "light":
            obj = g.any(LIGHT_OBJECTS)
        self.plot = p
        if friend is None:
            pool = SEA if sea else LAND
            friend = g.pick(pool)[0]
            if not sea and not thing and h.person and g.chance(0.4):
                friend = g.any(["girl", "boy"])
            if friend == kind:
                friend = "crab" if sea else "rabbit" if kind != "rabbit" else "mouse"
        f = Who(g, friend, friend_name, world=world)
        while f.name == h.name or (f.name and kind.lower() == f.name.lower()):
            f = Who(g, friend, None, world=world)
        self.friend = f
        if obj is None:
            obj = g.any(SEA_OBJECTS if sea else OBJECTS)
        colour = g.pick(COLOURS)
        self.obj, self.colour, self.place = obj, colour, place
        momk = g.pick(["mother", "grandmother", "father", "grandfather"])
        wise = g.any(SEA_WISE if sea else WISE)
        while wise in (kind, friend):
            wise = g.any(SEA_WISE if sea else WISE)
        spots = g.sample(SEA_SPOTS if sea else SPOTS, 3)
        wadj = g.pick(["old", "wise old", "kind old"])
        home = THING[kind][2] if thing else g.pick(SEA_HOMES if sea else HOMES)
        building = g.pick(["little house", "small bridge", "tree house", "little boat", "tall tower"])
        thing_word = g.pick(["blue vase", "old lamp", "big mirror", "white teapot", "glass bowl"])
        # Mind the order of the adjective and the colour: "a red ball".
        self.ctx = c = dict(
            h=h.ref, he=h.he, him=h.him, his=h.his, himself="herself" if h.he == "she" else "himself", hk=kind, hintro=h.intro, went=h.went,
            f=f.ref, fhe=f.he, fhim=f.him, fhis=f.his, fk=friend, fintro=f.intro, fintro2=f.intro2,
            w=f"the {wadj} {wise}", wintro=f"a {wadj} {wise}", obj=obj, xobj=f"{colour} {obj}", food=g.any(FOODS), wfood=g.any(["nuts", "berries", "apples", "carrots", "seeds", "mushrooms", "potatoes", "corn"]), a="a",
            place=place[0], inplace=place[1], home=home, mom=f"{h.his} {momk}", momd=f"{h.his} {momk}", momk=momk,
            spot=spots[0], spot2=spots[1], spot3=spots[2], skill=g.any(SKILLS), building=building, buildk=building.split(" ", 1)[1] if building != "tree house" else building,
            thing=thing_word, hidespot=g.pick(["under the carpet", "behind the curtain", "under the bed", "in a cupboard"]), ow=g.pick(["woman", "man"]),
            fruit=g.pick(["strawberries", "cherries", "nuts", "berries", "candles"]), v=g.pick(["dragon", "giant", "monster"]) if kind not in ("dragon", "giant", "monster") else "troll",
            does=THING[kind][3] if thing else "")
        if thing:
            c["place"], c["inplace"] = g.any(PLACES[:WILD]) if place in SEA_PLACES else place
        c["place2"] = g.any([x for x, _ in PLACES[:WILD] if x != c["place"]])
        self.food = c["food"]
        say = lambda t: g.say(t, c)
        opening = say(g.pick(OPENINGS))
        if g.chance(0.7) and not thing and not hobby and p["id"] != "friend":
            opening += " " + say(g.pick(TRAITS))
        if hobby:
            opening += " " + g.say("{He} loved {x} [more than anything else|very much|more than anything in the world].", c, x=hobby)
        self.opening = opening
        paras = [say(x) for x in p["paras"]]
        if p.get("direct") and g.chance(0.6) and "{he" not in p["paras"][0][:20] and not hobby:
            # The story begins at once.
            first = paras[0].replace(h.ref, h.intro, 1) if h.name else paras[0]
            if not h.name:
                first = opening + " " + paras[0]
            elif kind in ("girl", "boy") and g.chance(0.4):
                first = paras[0]
            self.opening = opening = first
        else:
            first = opening + " " + paras[0]
        body = [first] + paras[1:]
        if g.chance(0.3):
            body[-1] += " " + g.pick(CLOSINGS)
        self.paras = body
        self.text = "\n\n".join(body)
        self.summary = say(p["summary"])
        self.lesson = say(p["lesson"])
        self.problem = say(p["problem"])
        self.helper = say(p["helper"])
        self.mood = p["mood"]
        self.uses_obj = p.get("needs") in ("obj", "light")
        self.uses_friend = not p.get("nofriend")
        self.themes = [say(t) for t in p["theme"]]

    def later_part(self, g):
        """The story from a sentence in its first half on, beginning with one that names the hero."""
        starts = [m.start() for m in re.finditer(r"(?<=[.!?] )[A-Z]|(?<=\n\n)[A-Z]", self.text)]
        starts = [i for i in starts if i < len(self.text) * 0.5 and self.hero.name in self.text[i : self.text.find(".", i) + 1]]
        return self.text[g.any(starts) :] if starts else self.text

    def after_first_sentences(self, n):
        """Split the text after its first n sentences of the opening paragraph."""
        pos = 0
        for _ in range(n):
            nxt = self.paras[0].find(". ", pos)
            if nxt < 0:
                break
            pos = nxt + 2
        return self.text[:pos].rstrip(), self.text[pos:]
