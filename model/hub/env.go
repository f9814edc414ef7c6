package hub

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// An environment is what the variables say, with huggingface_hub's defaults (constants.py) and ModelScope's.
type environment struct {
	endpoint *url.URL // HF_ENDPOINT
	token    string   // HF_TOKEN, or the file that "hf auth login" writes
	cache    string   // HF_HUB_CACHE
	offline  bool     // HF_HUB_OFFLINE

	mirror      *url.URL // MODELSCOPE_ENDPOINT
	mirrorCache string   // MODELSCOPE_CACHE
}

func readEnvironment(getenv func(string) string) (environment, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	first := func(names ...string) string {
		for _, name := range names {
			if v := strings.TrimSpace(getenv(name)); v != "" {
				return v
			}
		}
		return ""
	}
	home := first("HOME", "USERPROFILE")
	folder := func(fallback string, names ...string) string {
		dir := os.Expand(first(names...), getenv)
		if dir == "" {
			return fallback
		}
		if rest, ok := strings.CutPrefix(dir, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
			dir = home + rest
		}
		return filepath.Clean(dir)
	}
	caches := folder(filepath.Join(home, ".cache"), "XDG_CACHE_HOME")
	hfHome := folder(filepath.Join(caches, "huggingface"), "HF_HOME")
	env := environment{
		cache:       folder(filepath.Join(hfHome, "hub"), "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"),
		mirrorCache: folder(filepath.Join(home, ".cache", "modelscope", "hub"), "MODELSCOPE_CACHE"),
		token:       first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
	}
	switch strings.ToUpper(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		env.offline = true
	}
	if env.token == "" {
		if data, err := os.ReadFile(folder(filepath.Join(hfHome, "token"), "HF_TOKEN_PATH")); err == nil && len(data) < 1024 {
			env.token = strings.TrimSpace(string(data))
		}
	}
	if strings.ContainsFunc(env.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return env, fmt.Errorf("hub: HF_TOKEN has spaces or other characters that no token has")
	}
	var err error
	if env.endpoint, err = endpoint("HF_ENDPOINT", first("HF_ENDPOINT"), "https://huggingface.co"); err != nil {
		return env, err
	}
	env.mirror, err = endpoint("MODELSCOPE_ENDPOINT", first("MODELSCOPE_ENDPOINT"), "https://www.modelscope.cn")
	return env, err
}

func endpoint(variable, value, fallback string) (*url.URL, error) {
	if value == "" {
		value = fallback
	}
	u, err := url.Parse(strings.TrimRight(value, "/"))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("hub: %s is %q: want a URL such as %s", variable, value, fallback)
	}
	return u, nil
}
