package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// completed are lines as they are typed, and what a shell makes of them when Tab is pressed, once: words between angle brackets. The
// last word is open if no space follows it.
var completed = []struct{ line, want string }{
	{"griffin conv", "<griffin><convert><>"},
	{"griffin --v", "<griffin><--version><>"},
	{"griffin help perp", "<griffin><help><perplexity><>"},
	{"griffin convert --match", "<griffin><convert><--match-runtime><>"},
	{"griffin convert --dtype bfl", "<griffin><convert><--dtype><bfloat16><>"},
	{"griffin convert --dtype=bfl", "<griffin><convert><--dtype=bfloat16><>"},
	{"griffin convert a b --to saf", "<griffin><convert><a><b><--to><safetensors><>"},
	{"griffin convert --preset 9", "<griffin><convert><--preset><9b><>"},
	{"griffin convert --match-runtime transformers5,m", "<griffin><convert><--match-runtime><transformers5,mlx-lm><>"},
	{"griffin verify --runtime mlx", "<griffin><verify><--runtime><mlx-lm><>"},
	{"griffin verify --embedding-scale=t", "<griffin><verify><--embedding-scale=true><>"},
	{"griffin golden --capture-script ja", "<griffin><golden><--capture-script><jax><>"},
	{"griffin inspect 'my model' --dump model.final", "<griffin><inspect><my model><--dump><model.final_norm.weight><>"},
	{"griffin inspect my\\ model --dump=model.final", "<griffin><inspect><my model><--dump=model.final_norm.weight><>"},
	{"griffin diff my\\ model b --only model.layers.0.temporal_block.linear_o", "<griffin><diff><my model><b><--only><model.layers.0.temporal_block.linear_out.>"},
	{"griffin inspect uniq", "<griffin><inspect><unique.pt><>"},
	{"griffin inspect --step 1 uniq", "<griffin><inspect><--step><1><unique.pt><>"},
	{"griffin inspect --report uniq", "<griffin><inspect><--report><unique.pt><>"},
	{"griffin inspect --report=uniq", "<griffin><inspect><--report=unique.pt><>"},
	{"griffin golden my\\ model --tokens uniq", "<griffin><golden><my model><--tokens><unique.pt><>"}, // or a list
	{"griffin inspect -- uniq", "<griffin><inspect><--><unique.pt><>"},
	{"griffin completion z", "<griffin><completion><zsh><>"},
}

// listed are lines that may go on in several ways, which Tab shows.
var listed = []struct {
	line string
	want []string // patterns, in this order
}{
	{"griffin ", []string{"convert", "inspect", "verify", "perplexity"}},
	{"griffin convert --d", []string{"--dtype", "--digest", "--dry-run"}},
	{"griffin convert a b --dtype ", []string{"keep", "float32", "bfloat16", "float16"}},
	{"griffin inspect 'my model' --dump model.layers.0.mlp_block.", []string{"down_proj.bias", "up_proj.weight"}},
}

// shells start with the completion script. Ctrl-A goes to the beginning of the line in all of them.
var shells = []struct {
	name    string
	command []string
	setup   string // typed first
}{
	{"bash", []string{"bash", "--norc", "--noprofile", "-i"}, "bind 'set show-all-if-ambiguous on'; source <(griffin completion bash)"},
	{"zsh", []string{"zsh", "-f", "-i"}, "autoload -Uz compinit && compinit -D && source <(griffin completion zsh) && bindkey -e"},
	{"fish", []string{"fish", "--no-config", "-i"}, "griffin completion fish | source"},
}

// TestCompletion presses Tab in real shells.
func TestCompletion(t *testing.T) {
	model, err := filepath.Abs("../../testdata/tiny-griffin/hf")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shells {
		t.Run(s.name, func(t *testing.T) {
			if _, err := exec.LookPath(s.command[0]); err != nil {
				t.Skipf("there is no %s", s.name)
			}
			t.Parallel()
			dir := t.TempDir()
			if err := os.Symlink(model, filepath.Join(dir, "my model")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "unique.pt"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			show := filepath.Join(dir, "show") // prints its arguments
			if err := os.WriteFile(show, []byte("#!/bin/sh\nprintf 'line: '; printf '<%s>' \"$@\"; printf ';\\n'\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			term := openTerminal(t, dir, s.command...)
			term.send(s.setup + "; echo re''ady\r")
			term.wait(t, regexp.MustCompile(`\nready`))
			for _, tt := range completed {
				// A character after what Tab has added shows whether it has added a space.
				term.send(tt.line)
				term.send("\t")
				time.Sleep(keyPause)
				term.send("X\x01./show \r")
				got := term.wait(t, regexp.MustCompile(`line: (<.*>);`))
				if want := strings.TrimSuffix(tt.want, ">") + "X>"; got != want {
					t.Errorf("%s|: got %s, want %s", tt.line, got, want)
				}
			}
			for _, tt := range listed {
				if s.name == "fish" { // shows a menu on the screen
					term.send(fmt.Sprintf("complete -C %q\r", tt.line))
				} else {
					term.send(tt.line + "\t")
				}
				term.wait(t, regexp.MustCompile(`(?s)\n.*`+strings.Join(tt.want, `\b.*`)+`\b`))
				term.send("\x15") // deletes the line
			}
		})
	}
}

// keyPause is the pause after each key. fish treats keys that arrive together as pasted text.
const keyPause = 20 * time.Millisecond

// pty is a program at a pseudo-terminal.
type pty struct {
	master *os.File
	mu     sync.Mutex
	screen bytes.Buffer
}

// openTerminal starts a program in a terminal. It ends with the test.
func openTerminal(t *testing.T, dir string, command ...string) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals: %v", err)
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 250})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Env = append(os.Environ(), "TERM=dumb", "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "PS1=$ ", "HISTFILE=", "INPUTRC=/dev/null")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	term := &pty{master: master}
	go term.read()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		master.Close()
	})
	return term
}

func (x *pty) read() {
	buf := make([]byte, 4096)
	for {
		n, err := x.master.Read(buf)
		x.mu.Lock()
		x.screen.Write(buf[:n])
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (x *pty) send(keys string) { _, _ = x.master.WriteString(keys) }

// wait returns the first group that a pattern matches, or the match, and forgets the screen up to there.
func (x *pty) wait(t *testing.T, pattern *regexp.Regexp) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		x.mu.Lock()
		found := pattern.FindSubmatch(x.screen.Bytes())
		if found != nil {
			text := string(found[len(found)-1])
			x.screen.Reset()
			x.mu.Unlock()
			return text
		}
		x.mu.Unlock()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	t.Fatalf("the terminal does not show %s: %q", pattern, x.screen.Bytes())
	return ""
}
