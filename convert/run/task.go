package run

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats"
)

// Task is one of several tasks that share the steps of a run. The zero value is the only task.
type Task struct {
	Index int // from 0
	Count int // 0 stands for 1
}

// Share returns the steps of the task: every Count-th one from Index on. Tasks that list the same steps share them
// without overlap.
func (t Task) Share(steps []formats.Step) []formats.Step {
	if t.Count <= 1 {
		return steps
	}
	var share []formats.Step
	for i := t.Index; i < len(steps); i += t.Count {
		share = append(share, steps[i])
	}
	return share
}

// TaskReason says why a task cannot be determined.
type TaskReason uint8

// The reasons.
const (
	TaskMalformed  TaskReason = iota + 1 // the text is not I/N, auto or auto/N, or I is not below N
	TaskNoArray                          // auto: the environment has no array of Slurm
	TaskNoIndex                          // auto/N: the environment has neither an array of Slurm nor an index of Kubernetes
	TaskNeedsCount                       // auto: Kubernetes has an index, but not the number of tasks
	TaskGaps                             // the indices of the Slurm array are not MIN, MIN+STEP, and so on
	TaskVariable                         // a variable of the scheduler is not a number in range
)

// TaskError reports that a task cannot be determined.
type TaskError struct {
	Text    string // that was given
	Reason  TaskReason
	Problem string
}

func (e *TaskError) Error() string { return fmt.Sprintf("task %s: %s", e.Text, e.Problem) }

// The variables of the schedulers. Sources: the page of sbatch of Slurm, "Job array support"; the page "Indexed Job" of
// Kubernetes.
const (
	slurmIndex      = "SLURM_ARRAY_TASK_ID"
	slurmMin        = "SLURM_ARRAY_TASK_MIN"
	slurmMax        = "SLURM_ARRAY_TASK_MAX"
	slurmStep       = "SLURM_ARRAY_TASK_STEP"
	slurmCount      = "SLURM_ARRAY_TASK_COUNT"
	kubernetesIndex = "JOB_COMPLETION_INDEX"
)

// ParseTask returns the task that a text stands for: I/N is task I of N, from 0. auto is the task of a Slurm array, auto/N
// also that of an Indexed Job of Kubernetes with N completions. lookup returns a variable of the environment, as
// os.LookupEnv does. Errors are *TaskErrors.
func ParseTask(text string, lookup func(string) (string, bool)) (Task, error) {
	p := taskParser{text, lookup}
	index, count, hasCount := strings.Cut(text, "/")
	t := Task{Count: 1}
	if hasCount {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return Task{}, p.fail(TaskMalformed, "the number of tasks, %q, is not a positive number", count)
		}
		t.Count = n
	}
	switch {
	case index == "auto":
		return p.scheduled(t.Count, hasCount)
	case !hasCount:
		return Task{}, p.fail(TaskMalformed, "it is none of I/N, auto, auto/N")
	}
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= t.Count {
		return Task{}, p.fail(TaskMalformed, "the index is not a number from 0 to %d", t.Count-1)
	}
	t.Index = i
	return t, nil
}

type taskParser struct {
	text   string
	lookup func(string) (string, bool)
}

func (p taskParser) fail(reason TaskReason, format string, args ...any) error {
	return &TaskError{p.text, reason, fmt.Sprintf(format, args...)}
}

// number returns a variable that has to be a number of at least min.
func (p taskParser) number(name string, min int) (int, error) {
	text, ok := p.lookup(name)
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < min {
		return 0, p.fail(TaskVariable, "the variable %s is %q, not a number of at least %d", name, text, min)
	}
	return n, nil
}

// scheduled returns the task that a scheduler has started.
func (p taskParser) scheduled(count int, hasCount bool) (Task, error) {
	_, inSlurm := p.lookup(slurmIndex)
	_, inKubernetes := p.lookup(kubernetesIndex)
	switch {
	case inSlurm:
		return p.slurm(count, hasCount)
	case inKubernetes && !hasCount:
		return Task{}, p.fail(TaskNeedsCount, "the environment has the index of an Indexed Job of Kubernetes (%s), but not the number of its completions", kubernetesIndex)
	case inKubernetes:
		i, err := p.number(kubernetesIndex, 0)
		if err == nil && i >= count {
			err = p.fail(TaskVariable, "the variable %s is %d, but there are only %d tasks", kubernetesIndex, i, count)
		}
		return Task{i, count}, err
	case hasCount:
		return Task{}, p.fail(TaskNoIndex, "the environment has neither the variables of a Slurm array (%s) nor %s of Kubernetes", slurmIndex, kubernetesIndex)
	}
	return Task{}, p.fail(TaskNoArray, "the environment has no variables of a Slurm array (%s)", slurmIndex)
}

// slurm returns the task of an array: (ID - MIN) / STEP of COUNT.
func (p taskParser) slurm(count int, hasCount bool) (Task, error) {
	var values [5]int
	for i, name := range []string{slurmIndex, slurmMin, slurmMax, slurmStep, slurmCount} {
		min := 0
		if name == slurmStep || name == slurmCount {
			min = 1
		}
		var err error
		if values[i], err = p.number(name, min); err != nil {
			return Task{}, err
		}
	}
	id, first, last, step, size := values[0], values[1], values[2], values[3], values[4]
	if id < first || id > last {
		return Task{}, p.fail(TaskVariable, "the variable %s is %d, outside %d to %d", slurmIndex, id, first, last)
	}
	if (id-first)%step != 0 || (last-first)/step+1 != size {
		return Task{}, p.fail(TaskGaps, "the indices of the array, %d to %d with step %d, are not those of %d tasks", first, last, step, size)
	}
	if !hasCount {
		count = size
	}
	i := (id - first) / step
	if i >= count {
		return Task{}, p.fail(TaskVariable, "the array has more tasks (%d) than %d", size, count)
	}
	return Task{i, count}, nil
}
