package shadow

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// A Summary counts the records of a report.
type Summary struct {
	Entries        int
	Kinds, Reasons []Count // most frequent first, equal ones as they came
}

// A Count is how often a text occurred.
type Count struct {
	Text string
	N    int
}

// Summarise reads a report: JSON lines with "kind" and "reason". Empty lines are passed over; a line that is something else is an error
// that gives its number.
func Summarise(r io.Reader) (Summary, error) {
	var s Summary
	kinds, reasons := counter{}, counter{}
	lines := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, readErr := lines.ReadBytes('\n')
		if readErr != nil && readErr != io.EOF {
			return s, readErr
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			var record struct {
				Kind   *string `json:"kind"`
				Reason *string `json:"reason"`
			}
			if err := json.Unmarshal(line, &record); err != nil {
				return s, fmt.Errorf("line %d is not a JSON object with texts \"kind\" and \"reason\": %w", number, err)
			}
			s.Entries++
			s.Kinds = kinds.add(s.Kinds, record.Kind)
			s.Reasons = reasons.add(s.Reasons, record.Reason)
		}
		if readErr == io.EOF {
			break
		}
	}
	for _, list := range [][]Count{s.Kinds, s.Reasons} {
		slices.SortStableFunc(list, func(a, b Count) int { return cmp.Compare(b.N, a.N) })
	}
	return s, nil
}

// A counter knows where in a list of counts a text stands.
type counter map[string]int

func (c counter) add(list []Count, text *string) []Count {
	key := "unknown"
	if text != nil {
		key = *text
	}
	i, ok := c[key]
	if !ok {
		i = len(list)
		c[key] = i
		list = append(list, Count{Text: key})
	}
	list[i].N++
	return list
}

// Print writes the summary, the top of each list.
func (s Summary) Print(w io.Writer, top int) error {
	out := fmt.Appendf(nil, "divergence_entries=%d\n", s.Entries)
	for _, list := range []struct {
		title  string
		counts []Count
	}{{"top_kinds:", s.Kinds}, {"top_reasons:", s.Reasons}} {
		out = fmt.Appendln(out, list.title)
		for _, c := range list.counts[:min(top, len(list.counts))] {
			out = fmt.Appendf(out, "  %s: %d\n", c.Text, c.N)
		}
	}
	_, err := w.Write(out)
	return err
}
