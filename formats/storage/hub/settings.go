package hub

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// Settings are what the environment tells huggingface_hub.
type Settings struct {
	Endpoint string // of the hub
	Token    string // "" for none; sent to the endpoint only
	Cache    string // directory, "" for none
	Offline  bool   // read the cache only
}

// Environment returns the settings of the environment: HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME,
// HF_HUB_CACHE, HF_HUB_OFFLINE, HF_HUB_DISABLE_IMPLICIT_TOKEN, and their older names.
func Environment() Settings { return settings(os.Getenv) }

// settings is Environment with a function that returns variables.
func settings(getenv func(string) string) Settings {
	first := func(names ...string) string {
		for _, name := range names {
			if value := getenv(name); value != "" {
				return value
			}
		}
		return ""
	}
	isTrue := func(value string) bool {
		return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(value))
	}
	path := func(value string) string {
		if rest, ok := strings.CutPrefix(value, "~/"); ok {
			value = filepath.Join(first("HOME", "USERPROFILE"), rest)
		}
		return os.Expand(value, getenv)
	}
	home := path(getenv("HF_HOME"))
	if home == "" {
		home = filepath.Join(first("HOME", "USERPROFILE"), ".cache")
		if xdg := path(getenv("XDG_CACHE_HOME")); xdg != "" {
			home = xdg
		}
		home = filepath.Join(home, "huggingface")
	}
	s := Settings{
		Endpoint: strings.TrimRight(first("HF_ENDPOINT"), "/"),
		Cache:    path(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")),
		Offline:  isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
		Token:    strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")),
	}
	if s.Endpoint == "" {
		s.Endpoint = "https://huggingface.co"
	}
	if s.Cache == "" {
		s.Cache = filepath.Join(home, "hub")
	}
	if isTrue(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		s.Token = ""
		return s
	}
	if s.Token == "" {
		file := path(getenv("HF_TOKEN_PATH"))
		if file == "" {
			file = filepath.Join(home, "token")
		}
		dir, name := filepath.Split(file)
		if content, err := storage.ReadFile(storage.Local(dir), name, 1<<10); err == nil {
			s.Token = strings.TrimSpace(string(content))
		}
	}
	return s
}
