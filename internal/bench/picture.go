package bench

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// CheckPlot refuses names of pictures that Plot cannot draw.
func CheckPlot(path string) error {
	if format := pictureFormat(path); format != "png" && format != "svg" {
		return fmt.Errorf("%s: expected a name that ends in .png or .svg", path)
	}
	if !pictures {
		return errNoPictures
	}
	return nil
}

var errNoPictures = errors.New("this build draws no pictures: go build -tags plot ./cmd/minisgl makes one that does")

func pictureFormat(path string) string {
	return strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
}
