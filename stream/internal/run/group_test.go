package run

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/internal/task"
)

// A task that ends here to begin anew may be another thread's by then.
func TestATaskThatAnotherThreadHasTakenIsAwaited(t *testing.T) {
	t.Parallel()
	dir, err := statedir.Open(t.TempDir(), "app", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	}()
	id := task.ID{Sub: 0, Partition: 3}
	other, err := dir.Claim(id.String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	p := &task.Program{
		Plan:   &plan.Plan{Subs: []*plan.Sub{{Stores: []*plan.Store{{Name: "rows"}}}}},
		Stores: map[string]*task.StoreSpec{"rows": {Name: "rows", OnDisk: true}},
	}
	th := &thread{e: &Engine{dir: dir, o: Options{Program: p}}, tasks: map[task.ID]*active{}, gained: map[task.ID][]string{}, awaited: map[task.ID]bool{}}
	if err := th.regain(id, []string{"in", "more"}); err != nil {
		t.Fatalf("the thread ends with %v", err)
	}
	for range 2 { // as often as it tries
		if !slices.Equal(th.gained[id], []string{"in", "more"}) || !th.awaited[id] || th.tasks[id] != nil {
			t.Errorf("gained %v, awaited %v, made %v", th.gained, th.awaited, th.tasks)
		}
		if err := th.takeUp(); err != nil {
			t.Fatal(err)
		}
	}
}
