package minisgl_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"minisgl"
	"minisgl/model"
)

// A file of a type says, to the bit, what the checkpoint says that is brought to this type when it is loaded.
func TestQuantizedFileSaysWhatQuantizingAtLoadSays(t *testing.T) {
	five := 5
	requests := []minisgl.Request{
		{Prompt: "Once upon a time, there was a little fox named Finn.", Params: minisgl.Params{MaxTokens: 40, Logprobs: &five}},
		{Messages: []minisgl.Message{{Role: "user", Content: "What is 12 + 7?"}}, Params: minisgl.Params{MaxTokens: 40, Logprobs: &five}},
	}
	run := func(o minisgl.Options) []minisgl.Output {
		o.Device, o.MaxSeqLen, o.NumPages = "cpu", 512, 64
		outputs, err := open(t, o).Run(context.Background(), requests)
		if err != nil {
			t.Fatal(err)
		}
		return outputs
	}
	for _, c := range []struct {
		dtype  string
		atLoad minisgl.Options
		bytes  int64
	}{
		{"q8_0", minisgl.Options{Quantize: "q8_0"}, 4_642_400},
		{"q4_0", minisgl.Options{Quantize: "q4_0"}, 2_512_480},
		{"f16", minisgl.Options{DType: "float16"}, 8_635_936},
		{"bf16", minisgl.Options{}, 8_635_936},
		{"f32", minisgl.Options{DType: "float32"}, 17_155_616},
	} {
		t.Run(c.dtype, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "demo.gguf")
			q, err := minisgl.Quantize(context.Background(), minisgl.QuantizeOptions{Model: minisgl.Demo, Out: out, Type: c.dtype})
			if err != nil {
				t.Fatal(err)
			}
			if q.Matrices != 43 || q.Written != 43 || q.Tensors != 74 || q.Bytes != c.bytes || len(q.Notes) > 0 {
				t.Errorf("wrote %+v, want %d bytes", q, c.bytes)
			}
			got, want := run(minisgl.Options{Model: out}), run(c.atLoad)
			for i := range want {
				if !slices.Equal(got[i].TokenIDs, want[i].TokenIDs) || !reflect.DeepEqual(got[i].Tokens, want[i].Tokens) {
					t.Errorf("request %d: the file says %q, quantising at load %q", i, got[i].Text, want[i].Text)
				}
			}
		})
	}
}

func TestQuantizeLeavesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	quantize := func(ctx context.Context, o minisgl.QuantizeOptions) error {
		_, err := minisgl.Quantize(ctx, o)
		return err
	}
	demo := minisgl.QuantizeOptions{Model: minisgl.Demo, Out: out, Type: "q4_0"}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := quantize(ended, demo); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.WriteFile(out, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := quantize(context.Background(), demo); !errors.Is(err, fs.ErrExist) || !strings.HasPrefix(err.Error(), out) {
		t.Errorf("there already: %v", err)
	}
	if text, err := os.ReadFile(out); string(text) != "mine" {
		t.Errorf("the file holds %q (%v)", text, err)
	}
	demo.Force = true
	if err := quantize(context.Background(), demo); err != nil {
		t.Fatal(err)
	}
	again := minisgl.QuantizeOptions{Model: out, Out: filepath.Join(dir, "again.gguf"), Type: "q8_0"}
	if err := quantize(context.Background(), again); !errors.Is(err, model.ErrQuantised) || !strings.HasPrefix(err.Error(), out) {
		t.Errorf("quantised twice: %v", err)
	}
	for what, c := range map[string]struct {
		options minisgl.QuantizeOptions
		want    string
	}{
		"itself":    {minisgl.QuantizeOptions{Model: out, Out: out, Type: "q4_0", Force: true}, "is the checkpoint itself"},
		"a folder":  {minisgl.QuantizeOptions{Model: minisgl.Demo, Out: t.TempDir() + "/no/x.gguf", Type: "q4_0"}, "cannot write"},
		"extension": {minisgl.QuantizeOptions{Model: minisgl.Demo, Out: "x.bin", Type: "q4_0"}, "x.bin: the name of a GGUF file ends in .gguf"},
		"type":      {minisgl.QuantizeOptions{Model: minisgl.Demo, Out: out, Type: "q4_k"}, `type "q4_k": expected q8_0, q4_0, f16, bf16, f32`},
		"no model":  {minisgl.QuantizeOptions{Model: "./no/such", Out: filepath.Join(dir, "x.gguf"), Type: "q4_0"}, "no/such"},
	} {
		if err := quantize(context.Background(), c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", what, err, c.want)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
