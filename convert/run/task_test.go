package run_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
)

func TestParseTask(t *testing.T) {
	const (
		slurm = "SLURM_ARRAY_TASK_ID=%d SLURM_ARRAY_TASK_MIN=%d SLURM_ARRAY_TASK_MAX=%d SLURM_ARRAY_TASK_STEP=%d SLURM_ARRAY_TASK_COUNT=%d"
		index = "JOB_COMPLETION_INDEX=%d"
	)
	array := func(id, first, last, step, count int) string { return fmt.Sprintf(slurm, id, first, last, step, count) }
	for _, tt := range []struct {
		text, env string
		want      run.Task
		reason    run.TaskReason
	}{
		{"0/1", "", run.Task{Index: 0, Count: 1}, 0},
		{"3/20", array(5, 0, 9, 1, 10), run.Task{Index: 3, Count: 20}, 0},
		{"20/20", "", run.Task{}, run.TaskMalformed},
		{"-1/20", "", run.Task{}, run.TaskMalformed},
		{"0/0", "", run.Task{}, run.TaskMalformed},
		{"3", "", run.Task{}, run.TaskMalformed},
		{"", "", run.Task{}, run.TaskMalformed},
		{"1/2/3", "", run.Task{}, run.TaskMalformed},
		{"auto/x", "", run.Task{}, run.TaskMalformed},
		{"auto", array(7, 0, 19, 1, 20), run.Task{Index: 7, Count: 20}, 0},
		{"auto", array(14, 10, 18, 2, 5), run.Task{Index: 2, Count: 5}, 0},
		{"auto", array(15, 10, 18, 2, 5), run.Task{}, run.TaskGaps},
		{"auto", array(7, 1, 7, 1, 3), run.Task{}, run.TaskGaps}, // --array=1,3,7
		{"auto", array(20, 0, 19, 1, 20), run.Task{}, run.TaskVariable},
		{"auto", "SLURM_ARRAY_TASK_ID=3", run.Task{}, run.TaskVariable},
		{"auto", "", run.Task{}, run.TaskNoArray},
		{"auto", fmt.Sprintf(index, 3), run.Task{}, run.TaskNeedsCount},
		{"auto/8", fmt.Sprintf(index, 3), run.Task{Index: 3, Count: 8}, 0},
		{"auto/8", fmt.Sprintf(index, 8), run.Task{}, run.TaskVariable},
		{"auto/8", "JOB_COMPLETION_INDEX=", run.Task{}, run.TaskVariable},
		{"auto/8", "", run.Task{}, run.TaskNoIndex},
		{"auto/8", array(3, 0, 7, 1, 8), run.Task{Index: 3, Count: 8}, 0},
		{"auto/4", array(5, 0, 7, 1, 8), run.Task{}, run.TaskVariable},
	} {
		env := map[string]string{}
		for _, pair := range strings.Fields(tt.env) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		got, err := run.ParseTask(tt.text, func(name string) (string, bool) { value, ok := env[name]; return value, ok })
		var bad *run.TaskError
		if errors.As(err, &bad) != (tt.reason != 0) || tt.reason != 0 && bad.Reason != tt.reason || err == nil && got != tt.want {
			t.Errorf("%q with %q: %v, %v", tt.text, tt.env, got, err)
		}
	}
}

// All tasks together do every step once.
func TestShare(t *testing.T) {
	for steps := range 30 {
		all := make([]formats.Step, steps)
		for i := range all {
			all[i].Number = int64(i)
		}
		for count := range 12 {
			seen := map[int64]int{}
			most, least := 0, steps
			for i := range max(count, 1) {
				share := run.Task{Index: i, Count: count}.Share(all)
				most, least = max(most, len(share)), min(least, len(share))
				for _, s := range share {
					seen[s.Number]++
				}
			}
			for i := range steps {
				if seen[int64(i)] != 1 {
					t.Errorf("%d tasks do step %d %d times", count, i, seen[int64(i)])
				}
			}
			if most > least+1 {
				t.Errorf("%d tasks share %d steps unevenly: %d to %d", count, steps, least, most)
			}
		}
	}
}
