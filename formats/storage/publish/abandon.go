package publish

import (
	"sync"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// live are the stages of this process that are neither published nor discarded.
var live = struct {
	sync.Mutex
	stages map[*Stage]bool
}{stages: map[*Stage]bool{}}

// enter lists a stage.
func (s *Stage) enter() {
	live.Lock()
	defer live.Unlock()
	live.stages[s] = true
}

// leave takes a stage off the list.
func (s *Stage) leave() {
	live.Lock()
	defer live.Unlock()
	delete(live.stages, s)
}

// whilePublishing calls swap, which renames a stage to its destination, unless the stages were abandoned: then it waits
// for the end of the process.
func whilePublishing(swap func() error) error {
	live.Lock()
	defer live.Unlock()
	return swap()
}

// Abandon removes the stages of this process, and the directories that were created for them. It is for a process that
// ends at once, while others of its goroutines still write: no destination is changed any more. A destination that is
// being replaced just then is complete first.
func Abandon() {
	live.Lock() // for good
	for s := range live.stages {
		for range 10 { // files may be created meanwhile
			if system.RemoveAll(s.Dir) == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_ = s.removeParents()
	}
}
