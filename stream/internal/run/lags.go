package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// What members tell each other about the state they have: the sum of the next offsets of a task's changelogs.

// leftovers are the directories of tasks that nobody of this instance holds, by the sums they are worth. Safe for concurrent
// use.
type leftovers struct {
	mu   sync.Mutex
	sums map[task.ID]int64
}

func (l *leftovers) put(id task.ID, sum int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sums == nil {
		l.sums = map[task.ID]int64{}
	}
	l.sums[id] = sum
}

func (l *leftovers) remove(id task.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sums, id)
}

func (l *leftovers) all() map[task.ID]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.sums)
}

// survey finds out what the directories are worth that an earlier run has left.
func (e *Engine) survey() error {
	if e.dir == nil {
		return nil
	}
	for _, name := range e.dir.Left() {
		var id task.ID
		if _, err := fmt.Sscanf(name, "%d_%d", &id.Sub, &id.Partition); err != nil || id.String() != name || id.Sub < 0 || id.Sub >= len(e.o.Program.Plan.Subs) {
			continue // of another program
		}
		dir, err := e.dir.Claim(name)
		if err != nil {
			return err
		}
		if sum, ok := e.weigh(id, dir); ok {
			e.left.put(id, sum)
		}
		dir.Release()
	}
	return nil
}

// weigh reads what a directory is worth. What cannot be read is worth nothing; whoever gets the task finds out why.
func (e *Engine) weigh(id task.ID, dir *statedir.Task) (sum int64, ok bool) {
	for _, s := range e.o.Program.Plan.Subs[id.Sub].Stores {
		spec := e.o.Program.Stores[s.Name]
		if spec == nil || !spec.OnDisk || spec.Restored() == "" {
			continue
		}
		home, err := e.o.Program.Disk.Open(filepath.Join(dir.Path(), spec.Name), spec.Shape)
		if err != nil {
			return 0, false
		}
		if m := home.Mark(); m.Position != store.NoPosition {
			sum, ok = sum+m.Position, true
		}
		if err := home.Close(); err != nil {
			e.o.Log.Warn("a store did not close well", "task", id.String(), "store", spec.Name, "error", err)
		}
	}
	return sum, ok
}

// worthOf is the sum of a task in the hands of a thread.
func worthOf(a *active) (sum int64) {
	for _, spec := range a.task.Stores() {
		if m, ok := a.mark(spec.Name); ok && spec.Restored() != "" {
			sum += m.Position
		}
	}
	return sum
}

// holds is what the thread has of tasks.
func (t *thread) holds() map[task.ID]int64 {
	out := map[task.ID]int64{}
	for _, of := range []map[task.ID]*active{t.copies, t.suspended, t.tasks} {
		for id, a := range of {
			switch {
			case !t.e.stateful(a.sub):
			case a.running:
				out[id] = assign.Running
			default:
				out[id] = worthOf(a)
			}
		}
	}
	return out
}

// endsTimeout bounds the leader's question where changelogs end: the whole group waits for the answer.
const endsTimeout = 3 * time.Second

// changelogEnds are the sums of the ends of the changelogs of tasks. One of which an end is not known is missing.
func (e *Engine) changelogEnds(tasks []assign.Task) map[task.ID]int64 {
	topics, of := map[string]bool{}, map[int][]string{}
	for _, sub := range e.o.Program.Plan.Subs {
		for _, s := range sub.Stores {
			if topic := e.o.Program.Stores[s.Name].Restored(); topic != "" {
				topics[topic] = true
				of[sub.ID] = append(of[sub.ID], topic)
			}
		}
	}
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endsTimeout)
	defer cancel()
	listed, err := e.admin.ListEndOffsets(ctx, keys(topics)...)
	if err = errors.Join(err, listed.Error()); err != nil {
		e.o.Log.Warn("where some changelogs end is not known; tasks stay rather than move", "topics", strings.Join(keys(topics), ", "), "error", err)
	}
	out := map[task.ID]int64{}
	for _, x := range tasks {
		sum, known := int64(0), x.Stateful
		for _, topic := range of[x.ID.Sub] {
			o, ok := listed.Lookup(topic, x.ID.Partition)
			if known = known && ok && o.Err == nil; known {
				sum += o.Offset
			}
		}
		if known {
			out[x.ID] = sum
		}
	}
	return out
}
