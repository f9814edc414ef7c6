package goldens

import (
	"slices"
	"testing"
)

func TestAll(t *testing.T) {
	var names []string
	for _, m := range All(t) {
		names = append(names, m.Name)
		for i, p := range m.Prompts {
			last := p.Logits[len(p.Logits)-1]
			likeliest := slices.Index(last, slices.Max(last))
			if int32(likeliest) != p.Greedy[0] {
				t.Errorf("%s, prompt %d: the last row's largest logit is %d, the greedy continuation starts with %d", m.Name, i, likeliest, p.Greedy[0])
			}
			if want := map[string]int{"all": 0, "last": len(p.IDs) - 1}[p.LogitsRows]; p.FirstRow() != want {
				t.Errorf("%s, prompt %d: first row %d, want %d", m.Name, i, p.FirstRow(), want)
			}
		}
	}
	if want := []string{"head64-sharded-f16", "ratio14to2", "tiny-tied"}; !slices.Equal(names, want) {
		t.Errorf("models %v, want %v", names, want)
	}
}
