//go:build !plot

package bench

// Drawing is left out of ordinary builds: its libraries would make a cold build a fifth longer.
const pictures = false

// Plot draws nothing in this build; see CheckPlot.
func Plot(path, title string, points []Point) error { return errNoPictures }
