package hub

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSettings(t *testing.T) {
	home := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(home, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(".cache/huggingface/token", "hf_default\n")
	write("xdg/huggingface/token", "hf_xdg")
	write("hf/token", "hf_home")
	other := write("elsewhere", " hf_path \n")
	in := func(name string) string { return filepath.Join(home, filepath.FromSlash(name)) }
	const hub = "https://huggingface.co"
	for name, tt := range map[string]struct {
		env  map[string]string
		want Settings
	}{
		"nothing":   {nil, Settings{hub, "hf_default", in(".cache/huggingface/hub"), false}},
		"xdg":       {map[string]string{"XDG_CACHE_HOME": in("xdg")}, Settings{hub, "hf_xdg", in("xdg/huggingface/hub"), false}},
		"HF_HOME":   {map[string]string{"HF_HOME": "~/hf", "XDG_CACHE_HOME": in("xdg")}, Settings{hub, "hf_home", in("hf/hub"), false}},
		"variable":  {map[string]string{"HF_HOME": "$HOME/hf", "HF_HUB_CACHE": "/c"}, Settings{hub, "hf_home", "/c", false}},
		"old names": {map[string]string{"HUGGINGFACE_HUB_CACHE": "/c", "HUGGING_FACE_HUB_TOKEN": "hf_old"}, Settings{hub, "hf_old", "/c", false}},
		"token":     {map[string]string{"HF_TOKEN": " hf_env\n", "HF_TOKEN_PATH": other}, Settings{hub, "hf_env", in(".cache/huggingface/hub"), false}},
		"token path": {map[string]string{"HF_TOKEN_PATH": other, "HF_ENDPOINT": "https://mirror/"},
			Settings{"https://mirror", "hf_path", in(".cache/huggingface/hub"), false}},
		"no token": {map[string]string{"HF_TOKEN": "hf_env", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, Settings{hub, "", in(".cache/huggingface/hub"), false}},
		"offline":  {map[string]string{"HF_HUB_OFFLINE": "yes"}, Settings{hub, "hf_default", in(".cache/huggingface/hub"), true}},
		"online":   {map[string]string{"HF_HUB_OFFLINE": "0"}, Settings{hub, "hf_default", in(".cache/huggingface/hub"), false}},
	} {
		getenv := func(name string) string {
			if name == "HOME" {
				return home
			}
			return tt.env[name]
		}
		if got := settings(getenv); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
