package bench

import (
	"fmt"
	"strings"
)

// An idRange is the token ids that random prompts are made of, both ends included.
type idRange struct{ first, last int32 }

// within shrinks the range to a vocabulary; 0 is one of unknown size.
func (r idRange) within(vocab int) idRange {
	if vocab > 0 && int(r.last) >= vocab {
		r.last = int32(vocab - 1)
	}
	if r.first > r.last {
		r.first = 0
	}
	return r
}

func (r idRange) draw(rng *random, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.between(int(r.first), int(r.last)))
	}
	return ids
}

// checkLengths names the flags that set the lengths.
func checkLengths(least, most int) error {
	if least < 1 || most < least {
		return fmt.Errorf("lengths from %d to %d tokens: expected 1 ≤ least ≤ most", least, most)
	}
	return nil
}

// Workload says what the requests of an online benchmark look like.
type Workload struct {
	Endpoint        Endpoint `json:"endpoint"`
	Conversations   int      `json:"num_prompts"`
	Turns           int      `json:"turns"` // of each conversation; its requests follow each other
	SharedPrefixLen int      `json:"shared_prefix_len"`
	PrefixGroups    int      `json:"prefix_groups"` // how many different shared prefixes there are
}

// A conversation is what one user sends, turn by turn: token ids, or words where the endpoint takes text only.
type conversation struct {
	system string // of a chat with a shared prefix
	turns  []prompt
}

type prompt struct {
	ids  []int32
	text string
}

// A source makes prompts, each different from those before. Chats are made of words; ids would need the server's tokenizer.
type source struct {
	rng    *random
	ids    idRange
	minLen int
	maxLen int
}

func (s *source) prompt(endpoint Endpoint, n int) prompt {
	if endpoint != Chat {
		return prompt{ids: s.ids.draw(s.rng, n)}
	}
	words := make([]string, n)
	for i := range words {
		words[i] = commonWords[s.rng.between(0, len(commonWords)-1)]
	}
	return prompt{text: strings.Join(words, " ")}
}

func (s *source) length() int { return s.rng.between(s.minLen, s.maxLen) }

// conversations draws a workload anew, shared prefixes included.
func (s *source) conversations(w *Workload) []conversation {
	prefixes := make([]prompt, max(w.PrefixGroups, 1))
	for i := range prefixes {
		prefixes[i] = s.prompt(w.Endpoint, w.SharedPrefixLen)
	}
	all := make([]conversation, w.Conversations)
	for i := range all {
		prefix := prefixes[i%len(prefixes)]
		c := conversation{system: prefix.text}
		for turn := range max(w.Turns, 1) {
			p := s.prompt(w.Endpoint, s.length())
			if turn == 0 {
				p.ids = append(prefix.ids[:len(prefix.ids):len(prefix.ids)], p.ids...)
			}
			c.turns = append(c.turns, p)
		}
		all[i] = c
	}
	return all
}

// A dialogue is a conversation under way, with its history.
type dialogue struct {
	conversation
	messages []message
	ids      []int32
}

// call returns the request of a turn, given the answers to those before.
func (d *dialogue) call(endpoint Endpoint, turn, maxTokens int) *call {
	q := &call{maxTokens: maxTokens, ignoreEOS: true}
	p := d.turns[turn]
	if endpoint != Chat {
		d.ids = append(d.ids, p.ids...)
		q.ids = d.ids
		return q
	}
	if turn == 0 && d.system != "" {
		d.messages = append(d.messages, message{"system", d.system})
	}
	d.messages = append(d.messages, message{"user", p.text})
	q.messages = d.messages
	return q
}

// heard adds an answer to the history.
func (d *dialogue) heard(a *answer) {
	d.messages = append(d.messages, message{"assistant", a.text})
	d.ids = append(d.ids, a.outputIDs...)
}

// Words that the tokenizers of large models have as one token each, with the space before.
var commonWords = strings.Fields(`time people way water day part sound work place year name line land home hand school
	picture country plant story food city tree road farm sea night life paper group music book letter mile river car feet
	care second rain eye room friend fish mountain base horse cut watch color face wood list bird body dog family song door
	product wind question ship area half rock order fire south problem piece top bottom king space hour step ground table
	morning vowel cry plan star field power town machine note wait figure unit box class surface deep moon island foot
	system test record boat gold plane stone age gas value map size heart drop product wire cost lost brown metal sand soil
	roll temperature finger industry cause term energy law bit coast bank window store summer train sleep exercise wall
	catch mount wish sky board joy winter instrument glass grass cow job edge sign visit past soft fun bright weather month
	million bear finish happy hope flower strange trade melody trip office row mouth symbol least trouble shout seed tone
	suggest clean break lady yard rise bad blow oil blood touch team wheel stream bridge market engine paper signal`)
