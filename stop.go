package minisgl

import "bytes"

// A stopMatcher holds text back while it may be the beginning of a stop string, cuts it where one stands, and hands out
// the rest.
type stopMatcher struct {
	stops   []string
	min     int // stop strings count only after so many tokens
	buffer  []byte
	scanned int // bytes of buffer in which no stop string begins
	matched any // the stop string found
}

// scan looks for a stop string in the buffer after so many tokens, and cuts the buffer there; with include it stays.
func (m *stopMatcher) scan(tokens int, include bool) bool {
	if len(m.stops) == 0 || m.matched != nil {
		return m.matched != nil
	}
	if tokens <= m.min {
		m.scanned = len(m.buffer)
		return false
	}
	first := -1
	for _, stop := range m.stops {
		if i := bytes.Index(m.buffer[m.scanned:], []byte(stop)); i >= 0 && (first < 0 || i < first) {
			first, m.matched = i, stop
		}
	}
	if first >= 0 {
		end := m.scanned + first
		if include {
			end += len(m.matched.(string))
		}
		m.buffer = m.buffer[:end]
		m.scanned = end
		return true
	}
	m.scanned = len(m.buffer) - m.unfinished()
	return false
}

// unfinished is the length of the longest end of the buffer that is a beginning of a stop string.
func (m *stopMatcher) unfinished() int {
	longest := 0
	for _, stop := range m.stops {
		for n := min(len(stop)-1, len(m.buffer)-m.scanned); n > longest; n-- {
			if bytes.HasSuffix(m.buffer, []byte(stop[:n])) {
				longest = n
			}
		}
	}
	return longest
}

// emit takes the text that is safe to show, or all of it.
func (m *stopMatcher) emit(all bool) string {
	n := m.scanned
	if all || len(m.stops) == 0 {
		n = len(m.buffer)
	}
	text := string(m.buffer[:n])
	m.buffer = append(m.buffer[:0], m.buffer[n:]...)
	m.scanned = 0
	return text
}
