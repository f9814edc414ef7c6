package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"minisgl/internal/goldens"
)

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// patience is how long a command may take: a busy machine is slow.
const patience = 5 * time.Minute

// command runs minisgl with arguments, environment and input, in this process.
func command(t *testing.T, env map[string]string, input string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs strings.Builder
	code := run(ctx, args, streams{in: strings.NewReader(input), out: &out, err: &errs, getenv: func(name string) string { return env[name] }})
	return result{code, out.String(), errs.String()}
}

func TestErrorsNameWhatIsWrong(t *testing.T) {
	tiny := goldens.Get(t, "tiny-tied").Path
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)

	for _, test := range []struct {
		name string
		env  map[string]string
		args []string
		code int
		want []string // what the error says
	}{
		{"unknown flag", nil, []string{"serve", "--modle", "x"}, 2, []string{"--modle"}},
		{"unknown command", nil, []string{"srve"}, 2, []string{"srve"}},
		{"unknown device", nil, []string{"generate", "--model-path", tiny, "--device", "tpu"}, 1, []string{"tpu", "auto", "cpu", "reference"}},
		{"unknown variant", nil, []string{"generate", "--model-path", tiny, "--device", "cpu+sse"}, 1, []string{"cpu+sse", "generic"}},
		{"missing folder", nil, []string{"generate", "--model-path", "./no/such/model"}, 1, []string{"no/such/model"}},
		{"missing local dir", map[string]string{"MODEL_LOCAL_DIR": "/no/such/dir"}, []string{"smoke"}, 1, []string{"/no/such/dir"}},
		{"dtype", nil, []string{"generate", "--model-path", tiny, "--dtype", "int3"}, 1, []string{"int3", "bfloat16"}},
		{"memory ratio", nil, []string{"generate", "--model-path", tiny, "--memory-ratio", "1.5"}, 1, []string{"--memory-ratio", "1.5"}},
		{"no room for the KV asked for", nil, []string{"generate", "--model-path", tiny, "--num-pages", "2000000000"}, 1, []string{"memory"}},
		{"page size", nil, []string{"generate", "--model-path", tiny, "--page-size", "0"}, 1, []string{"--page-size"}},
		{"tensor parallel", nil, []string{"serve", "--model-path", tiny, "--tp", "2"}, 1, []string{"--tensor-parallel-size 2"}},
		{"text without tokenizer", nil, []string{"generate", "--model-path", tiny, "hello"}, 1, []string{"no tokenizer", "input_ids"}},
		{"chat without template", nil, []string{"chat", "--model-path", tiny}, 1, []string{"no chat template"}},
		{"port in use", nil, []string{"serve", "--model-path", tiny, "--port", taken}, 1, []string{"--port " + taken, "bind"}},
		{"log level", map[string]string{"LOG_LEVEL": "loud"}, []string{"serve", "--model-path", tiny}, 1, []string{"LOG_LEVEL", "loud"}},
		{"shell temperature", map[string]string{"MINISGL_SHELL_TEMPERATURE": "warm"}, []string{"chat", "--model-path", tiny}, 1, []string{"MINISGL_SHELL_TEMPERATURE", "warm"}},
		{"shell top p", map[string]string{"MINISGL_SHELL_TOP_P": "2"}, []string{"chat", "--model-path", tiny}, 1, []string{"MINISGL_SHELL_TOP_P"}},
		{"overlap", map[string]string{"MINISGL_DISABLE_OVERLAP_SCHEDULING": "maybe"}, []string{"generate", "--model-path", tiny}, 1, []string{"MINISGL_DISABLE_OVERLAP_SCHEDULING"}},
		{"log stride", map[string]string{"DECODE_LOG_STRIDE": "0"}, []string{"generate", "--model-path", tiny}, 1, []string{"DECODE_LOG_STRIDE"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := command(t, test.env, "hello\n", test.args...)
			if got.code != test.code {
				t.Errorf("exit code %d, want %d", got.code, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(got.err, want) {
					t.Errorf("the error does not say %q:\n%s", want, got.err)
				}
			}
		})
	}
}

func TestInfo(t *testing.T) {
	got := command(t, nil, "", "info", goldens.Get(t, "tiny-tied").Path)
	for _, want := range []string{"device cpu", "device reference", "kernels:", "memory:", "Architecture:qwen2"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("info does not say %q:\n%s%s", want, got.out, got.err)
		}
	}
	if got := command(t, nil, "", "version"); got.code != 0 || !strings.HasPrefix(got.out, "minisgl ") {
		t.Errorf("version: %+v", got)
	}
}

func TestDemoSpeaks(t *testing.T) {
	got := command(t, nil, "", "generate", "--temperature", "0", "--max-tokens", "10", "Once upon a time")
	if want := "Once upon a time, there was a little boy named Tom. He\n"; got.code != 0 || got.out != want {
		t.Errorf("generate: %+v, want %q", got, want)
	}
	if !strings.Contains(got.err, "--model-path") {
		t.Errorf("nothing says how to choose another model: %q", got.err)
	}

	got = command(t, map[string]string{"MINISGL_SHELL_TEMPERATURE": "0"}, "My name is Anna.\nWhat is my name?\n\n", "chat", "--multi-turn")
	if got.code != 0 || !strings.HasPrefix(got.out, "User: Assistant: ") || strings.Count(got.out, "Anna") < 2 {
		t.Errorf("chat --multi-turn: %+v, want answers that remember the name", got)
	}
	got = command(t, map[string]string{"MINISGL_SHELL_TEMPERATURE": "0"}, "My name is Anna.\nWhat is my name?\n\n", "chat")
	if answers := strings.Split(got.out, "User: "); len(answers) != 4 || strings.Contains(answers[2], "Anna") {
		t.Errorf("chat: %+v, want a second answer that does not know the name", got)
	}

	got = command(t, nil, "", "smoke", "--max-tokens", "8")
	for _, want := range []string{"Using model=demo on device=cpu", "--- generation summary ---", "output tokens: "} {
		if !strings.Contains(got.out, want) {
			t.Errorf("smoke does not print %q: %+v", want, got)
		}
	}
}

func TestPullDemo(t *testing.T) {
	dir := t.TempDir() + "/demo"
	if got := command(t, nil, "", "pull", "demo", "--to", dir); got.code != 0 || got.out != dir+"\n" {
		t.Fatalf("pull demo: %+v", got)
	}
	written := command(t, nil, "", "generate", "--temperature", "0", "--max-tokens", "10", "--model-path", dir, "Once upon a time")
	embedded := command(t, nil, "", "generate", "--temperature", "0", "--max-tokens", "10", "Once upon a time")
	if written.code != 0 || written.out != embedded.out {
		t.Errorf("the written-out folder says %q, the embedded one %q", written.out, embedded.out)
	}
	if got := command(t, nil, "", "pull", "demo"); got.code != 1 || !strings.Contains(got.err, "--to") {
		t.Errorf("pull demo without --to: %+v", got)
	}
}
