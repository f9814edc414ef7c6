package main

import (
	"path/filepath"
	"strings"
	"testing"

	"minisgl/internal/goldens"
)

func TestQuantize(t *testing.T) {
	out := filepath.Join(t.TempDir(), "demo.gguf")
	got := command(t, nil, "", "quantize", "demo", out, "--type", "q4_0")
	if got.code != 0 || !strings.HasPrefix(got.out, "wrote="+out+"\ntype=q4_0 matrices=43 of 43 tensors=74 bytes=2512480 from=8532480 duration=") || got.err != "" {
		t.Fatalf("quantize: %+v", got)
	}
	args := []string{"generate", "--temperature", "0", "--max-tokens", "30", "Once upon a time"}
	file, atLoad := command(t, nil, "", append(args, "--model-path", out)...), command(t, nil, "", append(args, "--quantize", "q4_0")...)
	if file.code != 0 || len(file.out) < 60 || file.out != atLoad.out {
		t.Errorf("the file says %q, --quantize %q", file.out, atLoad.out)
	}
	for _, test := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"demo", out}, 1, []string{out, "exists", "--force"}},
		{[]string{"demo", out, "--force"}, 0, nil},
		{[]string{"demo", "x.bin"}, 1, []string{"x.bin", ".gguf"}},
		{[]string{"demo", out, "--type", "q3_k"}, 2, []string{"--type", "q8_0", "q3_k"}},
		{[]string{"demo"}, 2, []string{"out"}},
		{[]string{out, out + ".gguf", "--type", "q4_0"}, 1, []string{out, "quantised already"}},
		{[]string{"./no/such/model", out, "--force"}, 1, []string{"no/such/model"}},
		{[]string{goldens.Get(t, "tiny-tied").Path, out, "--force"}, 0, nil},
	} {
		got := command(t, nil, "", append([]string{"quantize"}, test.args...)...)
		if got.code != test.code {
			t.Errorf("%v: exit code %d, want %d:\n%s", test.args, got.code, test.code, got.err)
		}
		for _, want := range test.want {
			if !strings.Contains(got.err, want) {
				t.Errorf("%v: the error does not say %q:\n%s", test.args, want, got.err)
			}
		}
	}
}
