package tokenizer

import "unicode/utf8"

// GPT-2 spells bytes as characters that can be seen (bytes_to_unicode in openai/gpt-2's encoder.py): the printable ones of
// Latin-1 stand for themselves, the other 68 are U+0100 to U+0143 in order.
var byteOf = func() (table [0x144]int16) {
	for i := range table {
		table[i] = -1
	}
	next := 0x100
	for b := range 256 {
		if '!' <= b && b <= '~' || 0xA1 <= b && b <= 0xAC || 0xAE <= b && b <= 0xFF {
			table[b] = int16(b)
		} else {
			table[next] = int16(b)
			next++
		}
	}
	return table
}()

// appendBytes appends the bytes that a token's spelling stands for; false if a character is not in the alphabet.
func appendBytes(dst []byte, spelling string) ([]byte, bool) {
	for _, r := range spelling {
		if int(r) >= len(byteOf) || byteOf[r] < 0 {
			return dst, false
		}
		dst = append(dst, byte(byteOf[r]))
	}
	return dst, true
}

// appendLossy appends src with U+FFFD for each longest stretch that begins a character and does not end it, and for each
// other byte that is not UTF-8: what Rust's from_utf8_lossy and Unicode 3.9 (table 3-8) do.
func appendLossy(dst, src []byte) []byte {
	for len(src) > 0 {
		if _, n := utf8.DecodeRune(src); n > 1 || src[0] < utf8.RuneSelf {
			dst, src = append(dst, src[:n]...), src[n:]
			continue
		}
		n := 1
		for n < len(src) && !utf8.FullRune(src[:n+1]) {
			n++
		}
		dst, src = utf8.AppendRune(dst, utf8.RuneError), src[n:]
	}
	return dst
}
