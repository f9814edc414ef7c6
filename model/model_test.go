package model

import (
	"testing"

	"minisgl/internal/goldens"
)

func TestGoldensOpen(t *testing.T) {
	for _, m := range goldens.All(t) {
		c, err := Open(m.Path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(c.Config, len(c.Program.Ops), c.StopIDs)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
