package assign_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/task"
)

// Each line of input is a member: its name, its process, and then what it has, as active=0_1,0_2 standby= lag=0_1:5 tag=zone:a.
// Names with * are of stateful tasks.
func TestScenarios(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			c := assign.Config{Warmups: 2, RecoveryLag: 10}
			d.MaybeScanArgs(t, "standbys", &c.Standbys)
			d.MaybeScanArgs(t, "warmups", &c.Warmups)
			var rack, names string
			if d.MaybeScanArgs(t, "rack", &rack) {
				c.RackAware = strings.Split(rack, "/")
			}
			d.ScanArgs(t, "tasks", &names)
			var tasks []assign.Task
			for name := range strings.SplitSeq(names, "/") {
				bare, stateful := strings.CutSuffix(name, "*")
				tasks = append(tasks, assign.Task{ID: parse(t, bare), Stateful: stateful})
			}
			var members []assign.Member
			for line := range strings.Lines(d.Input) {
				members = append(members, member(t, strings.Fields(line)))
			}
			return render(assign.Assign(c, members, tasks))
		})
	})
}

func parse(t *testing.T, s string) (id task.ID) {
	t.Helper()
	if _, err := fmt.Sscanf(s, "%d_%d", &id.Sub, &id.Partition); err != nil {
		t.Fatal(s, err)
	}
	return id
}

func member(t *testing.T, f []string) assign.Member {
	t.Helper()
	m := assign.Member{ID: f[0], Process: assign.Process{f[1][0]}, Lags: map[task.ID]int64{}, Tags: map[string]string{}, Refuses: map[int]bool{}}
	for _, field := range f[2:] {
		key, values, _ := strings.Cut(field, "=")
		for v := range strings.SplitSeq(values, ",") {
			name, rest, _ := strings.Cut(v, ":")
			var n int64
			_, _ = fmt.Sscan(rest, &n)
			switch key {
			case "active":
				m.Active = append(m.Active, parse(t, name))
				m.Lags[parse(t, name)] = 0
			case "standby":
				m.Standby = append(m.Standby, parse(t, name))
			case "lag":
				m.Lags[parse(t, name)] = n
			case "tag":
				m.Tags[name] = rest
			case "refuses":
				_, _ = fmt.Sscan(name, &n)
				m.Refuses[int(n)] = true
			}
		}
	}
	return m
}

func render(r assign.Result) string {
	var b strings.Builder
	for _, m := range slices.Sorted(maps.Keys(r.Shares)) {
		s := r.Shares[m]
		fmt.Fprintf(&b, "%s:", m)
		for _, l := range []struct {
			name string
			ids  []task.ID
		}{{"active", s.Active}, {"awaited", s.Awaited}, {"standby", s.Standby}, {"warm-up", s.Warmup}} {
			if len(l.ids) > 0 {
				fmt.Fprintf(&b, " %s%v", l.name, l.ids)
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "follow-up %v, probing %v", r.FollowUp, r.Probing)
	if r.Short > 0 {
		fmt.Fprintf(&b, ", %d standbys missing", r.Short)
	}
	if r.Near > 0 {
		fmt.Fprintf(&b, ", %d standbys near", r.Near)
	}
	if len(r.Idle) > 0 {
		fmt.Fprintf(&b, ", nobody runs %v", r.Idle)
	}
	return b.String() + "\n"
}
