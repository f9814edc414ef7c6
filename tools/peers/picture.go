package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// drawRatios draws how often ours is as fast as llama.cpp: a bar for the median of each figure, a dot for each round, on a logarithmic
// axis. Sections without llama.cpp's rounds are left out.
func drawRatios(files []sectionFile) []byte {
	const (
		left, right, row   = 330, 60, 17
		width              = 1000
		least, most        = -1.0, 3.0 // powers of 2
		ahead, behind, dot = "#4477aa", "#cc6677", "#222222"
	)
	x := func(ratio float64) float64 {
		power := min(max(math.Log2(ratio), least), most)
		return left + (power-least)/(most-least)*(width-left-right)
	}
	var body bytes.Buffer
	y := 30
	text := func(x float64, y int, anchor, style, words string) {
		fmt.Fprintf(&body, `<text x="%.1f" y="%d" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, style, html.EscapeString(words))
	}
	for _, file := range files {
		run := ""
		for _, c := range compare(file.Records) {
			ratios := c.ratios()
			if len(ratios) == 0 {
				continue
			}
			if c.run != run {
				run = c.run
				y += 12
				heading := run
				if file.Section != "best" {
					heading += " (" + file.Section + ")"
				}
				text(left-8, y+12, "end", ` font-weight="bold"`, heading)
				y += row
			}
			m, colour := median(ratios), ahead
			if m < 1 {
				colour = behind
			}
			from, to := min(x(1), x(m)), max(x(1), x(m))
			fmt.Fprintf(&body, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", from, y+2, to-from, row-4, colour)
			for _, r := range ratios {
				fmt.Fprintf(&body, `<circle cx="%.1f" cy="%d" r="2" fill="%s"/>`+"\n", x(r), y+row/2, dot)
			}
			text(left-8, y+12, "end", "", c.figure)
			text(width-right+8, y+12, "start", "", fmt.Sprintf("%.2f", m))
			y += row
		}
	}
	bottom := y + 8
	var grid bytes.Buffer
	for power := least; power <= most; power++ {
		at := x(math.Exp2(power))
		fmt.Fprintf(&grid, `<line x1="%.1f" y1="26" x2="%.1f" y2="%d" stroke="#cccccc"/>`+"\n", at, at, bottom)
		fmt.Fprintf(&grid, `<text x="%.1f" y="20" text-anchor="middle">%g</text>`+"\n", at, math.Exp2(power))
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, bottom+24)
	fmt.Fprintln(&out, `<rect width="100%" height="100%" fill="white"/>`)
	fmt.Fprintf(&out, `<text x="8" y="20">minisgl : llama.cpp</text>`+"\n")
	out.Write(grid.Bytes())
	out.Write(body.Bytes())
	fmt.Fprintf(&out, `<text x="8" y="%d">bar: median; dots: rounds</text>`+"\n</svg>\n", bottom+16)
	return out.Bytes()
}
