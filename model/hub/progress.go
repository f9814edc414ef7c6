package hub

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// ProgressBar returns an Options.Progress that draws a bar for each file if w is a terminal, and otherwise writes a line
// for each tenth of a file.
func ProgressBar(w io.Writer) func(file string, done, total int64) {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return bars(w)
	}
	return lines(w)
}

func bars(w io.Writer) func(file string, done, total int64) {
	var bar *progressbar.ProgressBar
	var current string
	var last int64
	return func(file string, done, total int64) {
		begun := file != current || done < last // a download may have to start again
		current, last = file, done
		if bar == nil || begun {
			bar = progressbar.NewOptions64(total,
				progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(file), progressbar.OptionShowBytes(true),
				progressbar.OptionUseIECUnits(true), progressbar.OptionShowTotalBytes(true), progressbar.OptionFullWidth(),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
		}
		bar.Set64(done)
	}
}

func lines(w io.Writer) func(file string, done, total int64) {
	var current string
	var tenth int64
	return func(file string, done, total int64) {
		if file != current {
			current, tenth = file, -1
		}
		if total <= 0 { // unknown, or nothing to wait for
			if tenth < 0 {
				tenth = 0
				fmt.Fprintf(w, "downloading %s\n", file)
			}
			return
		}
		if now := done * 10 / total; now > tenth {
			tenth = now
			fmt.Fprintf(w, "downloading %s: %d %% (%s of %s)\n", file, now*10, humanize.IBytes(uint64(done)), humanize.IBytes(uint64(total)))
		}
	}
}
