package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"minisgl/internal/goldens"
	"minisgl/model/chat"
	"minisgl/model/demo"
	"minisgl/tensor"
	"minisgl/tensor/gguf"
	"minisgl/tensor/safetensors"
)

// written returns a checkpoint as a GGUF file.
func written(t *testing.T, c *Checkpoint, dtype tensor.DType) ([]byte, Export) {
	t.Helper()
	var file bytes.Buffer
	e, err := c.WriteGGUF(&file, ExportOptions{Type: dtype})
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), e
}

// reopened writes a checkpoint to a GGUF file and opens that.
func reopened(t *testing.T, c *Checkpoint, dtype tensor.DType) *Checkpoint {
	t.Helper()
	file, _ := written(t, c, dtype)
	back, err := OpenFS(fstest.MapFS{"model.gguf": {Data: file}}, "model.gguf", Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { back.Close() })
	if err := back.Program.Validate(); err != nil {
		t.Error(err)
	}
	return back
}

func TestWriteGGUFComesBack(t *testing.T) {
	demoModel, err := OpenFS(demo.FS(), ".", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer demoModel.Close()
	for name, c := range map[string]*Checkpoint{
		"tied":     open(t, goldens.Get(t, "tiny-tied").Path, Options{}),
		"untied":   open(t, goldens.Get(t, "ratio14to2").Path, Options{}),
		"float16":  open(t, goldens.Get(t, "head64-sharded-f16").Path, Options{}),
		"llama":    open(t, "testdata/gguf/llama", Options{}),
		"GGUF":     open(t, "testdata/gguf/llama.gguf", Options{}),
		"the demo": demoModel,
	} {
		for _, dtype := range ExportTypes {
			t.Run(name+" "+dtype.String(), func(t *testing.T) {
				back := reopened(t, c, dtype)
				checkConverted(t, back, c, dtype)
				a, b := back.Config, c.Config
				a.RMSNormEps, b.RMSNormEps = float64(float32(a.RMSNormEps)), float64(float32(b.RMSNormEps)) // GGUF has float32
				a.Rope, a.DType = b.Rope, b.DType
				if err := equalConfigs(a, b); err != "" {
					t.Error(err)
				}
				if !slices.Equal(back.StopIDs, c.StopIDs) {
					t.Errorf("stop ids %v, want %v", back.StopIDs, c.StopIDs)
				}
				for i, f := range c.Program.Rotary.InvFreq {
					if got := back.Program.Rotary.InvFreq[i]; math.Abs(float64(got/f-1)) > 2e-7 {
						t.Errorf("frequency %d is %v, want %v", i, got, f)
					}
				}
			})
		}
	}
	back := reopened(t, demoModel, tensor.Q8_0)
	const text = "Once upon a time, Zoë said: <|im_start|>12 + 7?<|im_end|>\n"
	if got, want := back.Tokenizer.Encode(text, true), demoModel.Tokenizer.Encode(text, true); !slices.Equal(got, want) {
		t.Errorf("%q is encoded as %v, want %v", text, got, want)
	}
	messages := []chat.Message{{Role: "user", Content: "Hello!"}}
	got, err := back.Chat.Render(messages, chat.Options{AddGenerationPrompt: true})
	want, _ := demoModel.Chat.Render(messages, chat.Options{AddGenerationPrompt: true})
	if err != nil || got != want {
		t.Errorf("rendered %q (%v), want %q", got, err, want)
	}
	for what, pair := range map[string][2]any{
		"temperature": {*back.Defaults.Temperature, *demoModel.Defaults.Temperature}, "top_p": {*back.Defaults.TopP, *demoModel.Defaults.TopP},
		"top_k": {*back.Defaults.TopK, *demoModel.Defaults.TopK},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
		}
	}
}

// checkConverted wants the weights of a written checkpoint to be what conversion makes of the original's.
func checkConverted(t *testing.T, got, from *Checkpoint, dtype tensor.DType) {
	t.Helper()
	all := weightsOf(from.Program)
	for label, parts := range weightsOf(got.Program) {
		for i, part := range parts {
			source := all[label][i]
			want, data := dtype, []byte(nil)
			switch values := source.Float32(); {
			case len(source.Shape) == 1:
				want = tensor.F32
				data = make([]byte, 4*len(values))
				putFloats(data, want, values)
			case source.Cols()%dtype.Block() != 0:
				want, data = source.DType, source.Data
			case dtype.Quantised():
				data = tensor.Quantise(dtype, values)
			default:
				data = make([]byte, dtype.RowBytes(len(values)))
				putFloats(data, dtype, values)
			}
			if part.DType != want || !slices.Equal(part.Shape, source.Shape) || !bytes.Equal(part.Data, data) {
				t.Fatalf("%s: %v is not %v converted to %s", label, part, source, want)
			}
		}
	}
}

// testdata/gguf/make.py wrote these files with the gguf package of PyPI, which also quantised them, and ordered llama's rows.
func TestWriteGGUFAgreesWithThePythonPackage(t *testing.T) {
	for _, c := range []struct {
		folder, file string
		dtype        tensor.DType
		least        int // tensors of the same type
	}{
		{goldens.Get(t, "tiny-tied").Path, "tiny-tied-bf16.gguf", tensor.BF16, 26},
		{goldens.Get(t, "tiny-tied").Path, "tiny-tied-f16.gguf", tensor.F16, 26},
		{goldens.Get(t, "tiny-tied").Path, "tiny-tied-q8_0.gguf", tensor.Q8_0, 24}, // rows of 176 are F16 there
		{"testdata/gguf/llama", "llama.gguf", tensor.F32, 16},
	} {
		t.Run(c.file, func(t *testing.T) {
			want, err := gguf.Open("testdata/gguf/" + c.file)
			if err != nil {
				t.Fatal(err)
			}
			defer want.Close()
			data, _ := written(t, open(t, c.folder, Options{}), c.dtype)
			got, err := gguf.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			for key, value := range want.Metadata {
				if got.Metadata[key] != value {
					t.Errorf("%s is %v, want %v", key, got.Metadata[key], value)
				}
			}
			alike := 0
			for name, w := range want.Tensors {
				g := got.Tensors[name]
				switch {
				case g == nil || !slices.Equal(g.Shape, w.Shape):
					t.Errorf("%v, want %v", g, w)
				case name == "rope_freqs.weight":
					for i, d := range w.Float32() {
						if math.Abs(float64(g.Float32()[i]/d-1)) > 3e-7 {
							t.Errorf("%s: %v, want %v", name, g.Float32(), w.Float32())
						}
					}
				case g.DType == w.DType && !bytes.Equal(g.Data, w.Data):
					t.Errorf("%v differs", g)
				case g.DType == w.DType:
					alike++
				}
			}
			if len(got.Tensors) != len(want.Tensors) || alike < c.least {
				t.Errorf("%d tensors, %d as they should be; want %d, %d", len(got.Tensors), alike, len(want.Tensors), c.least)
			}
		})
	}
}

func TestWriteGGUFRope(t *testing.T) {
	for name, rope := range map[string]RopeScaling{
		"none":             {},
		"linear":           {Type: "linear", Factor: 2.5},
		"yarn":             {Type: "yarn", Factor: 4, OriginalPositions: 512},
		"yarn, everything": {Type: "yarn", Factor: 4, OriginalPositions: 512, BetaFast: 16, BetaSlow: 2, AttentionFactor: 0.75},
	} {
		c := Config{Architecture: "qwen2", HiddenSize: 64, IntermediateSize: 176, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 512, MaxPositions: 2048,
			RMSNormEps: 0.5, RopeTheta: 1e6, TieWordEmbedding: true, QKVBias: true, Rope: rope}
		m, err := c.ggufMetadata()
		if err != nil {
			t.Fatal(err)
		}
		back, err := (&ggufMetadata{Metadata: m}).config(ggufFile(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(back.Rope.AttentionFactor-rope.AttentionFactor) < 1e-7 {
			back.Rope.AttentionFactor = rope.AttentionFactor
		}
		if err := equalConfigs(back, c); err != "" {
			t.Errorf("%s: %s", name, err)
		}
	}
}

func TestWriteGGUFRefuses(t *testing.T) {
	tiny := goldens.Get(t, "tiny-tied").Path
	random := open(t, tiny, Options{RandomFill: true})
	closed, err := Open(tiny, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	large := smallModel(t, "qwen2", 1, func(name string, values []float32) {
		if strings.HasSuffix(name, "up_proj.weight") {
			values[33] = 70000
		}
	})
	broken := smallModel(t, "qwen2", 1, func(name string, values []float32) {
		if name == "model.embed_tokens.weight" {
			values[0] = float32(math.NaN())
		}
	})
	truncated, wrong := *large, *large
	truncated.Config.Rope = RopeScaling{Type: "yarn", Factor: 2, OriginalPositions: 32, NoTruncate: true}
	wrong.Config.Rope = RopeScaling{Type: "llama3", Factor: 2, OriginalPositions: 32, LowFreqFactor: 1, HighFreqFactor: 4}
	for name, c := range map[string]struct {
		checkpoint *Checkpoint
		dtype      tensor.DType
		want       string
	}{
		"type":              {large, tensor.Q6_K, "cannot be written as Q6_K; possible: [Q8_0 Q4_0 F16 BF16 F32]"},
		"random":            {random, tensor.Q8_0, "whose weights are not random"},
		"closed":            {closed, tensor.Q8_0, "only an open checkpoint"},
		"quantised":         {reopened(t, large, tensor.Q4_0), tensor.Q8_0, "quantised already"},
		"no whole blocks":   {smallModel(t, "qwen3", 4, nil), tensor.Q8_0, "no matrix has rows of whole blocks of 32"},
		"too large":         {large, tensor.F16, `tensor "blk.0.ffn_up.weight": row 1: F16 cannot hold 70000`},
		"no number":         {broken, tensor.Q8_0, `tensor "token_embd.weight": row 0: Q8_0 cannot hold NaN`},
		"yarn untruncated":  {&truncated, tensor.Q8_0, `config.json: GGUF has no rope type "yarn" with truncate false`},
		"llama3's in qwen2": {&wrong, tensor.Q8_0, `GGUF has no rope type "llama3" for architecture "qwen2"`},
	} {
		_, err := c.checkpoint.WriteGGUF(io.Discard, ExportOptions{Type: c.dtype})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	full := errors.New("no space left")
	if _, err := large.WriteGGUF(writerFunc(func([]byte) (int, error) { return 0, full }), ExportOptions{Type: tensor.F32}); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(data []byte) (int, error) { return f(data) }

// smallModel opens a model of a few rows and random weights, which change may change.
func smallModel(t *testing.T, architecture string, seed uint64, change func(name string, values []float32)) *Checkpoint {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	headDim, kvHeads, group := 2*(1+random.IntN(9)), 1+random.IntN(3), 1+random.IntN(3)
	hidden, intermediate, layers, vocab := 1+random.IntN(70), 1+random.IntN(70), 1+random.IntN(3), 1+random.IntN(90)
	if seed%2 == 1 {
		hidden, intermediate = 32, 64
	}
	tied := random.IntN(2) == 0
	config, err := json.Marshal(fields{
		"model_type": architecture, "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers, "head_dim": headDim,
		"num_attention_heads": kvHeads * group, "num_key_value_heads": kvHeads, "vocab_size": vocab, "max_position_embeddings": 64,
		"tie_word_embeddings": tied, "eos_token_id": vocab - 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	folder := fstest.MapFS{"config.json": {Data: config}}
	shapes, err := OpenFS(folder, ".", Options{RandomFill: true, DType: tensor.F32, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	defer shapes.Close()
	stored := []tensor.DType{tensor.F32, tensor.F16, tensor.BF16}[random.IntN(3)]
	if change != nil {
		stored = tensor.F32
	}
	var tensors []*tensor.Tensor
	seen := map[*tensor.Tensor]bool{}
	for _, parts := range weightsOf(shapes.Program) {
		for _, p := range parts {
			if seen[p] {
				continue
			}
			seen[p] = true
			values := p.Float32()
			if change != nil {
				change(p.Name, values)
			}
			data := make([]byte, stored.RowBytes(len(values)))
			putFloats(data, stored, values)
			tensors = append(tensors, &tensor.Tensor{Name: p.Name, DType: stored, Shape: p.Shape, Data: data})
		}
	}
	var file bytes.Buffer
	if err := safetensors.Write(&file, tensors, nil); err != nil {
		t.Fatal(err)
	}
	folder["model.safetensors"] = &fstest.MapFile{Data: file.Bytes()}
	c, err := OpenFS(folder, ".", Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Models of every architecture and of odd shapes come back as they were written.
func FuzzWriteGGUF(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(seed, uint8(seed), uint8(seed/3))
	}
	f.Fuzz(func(t *testing.T, seed uint64, architecture, dtype uint8) {
		c := smallModel(t, architectures[int(architecture)%len(architectures)], seed, nil)
		to := ExportTypes[int(dtype)%len(ExportTypes)]
		if _, err := c.WriteGGUF(io.Discard, ExportOptions{Type: to}); err != nil && strings.Contains(err.Error(), "no matrix has rows") {
			return
		}
		back := reopened(t, c, to)
		checkConverted(t, back, c, to)
		if !slices.Equal(back.StopIDs, c.StopIDs) {
			t.Errorf("stop ids %v, want %v", back.StopIDs, c.StopIDs)
		}
	})
}
