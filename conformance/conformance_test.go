package conformance_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/conformance/set"
)

// packed is the project's own copy of the set.
const packed = "testdata/set.tar.gz"

// total is the last line, once the set has been run.
var total string

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	if total != "" {
		fmt.Println(total)
	}
	os.Exit(code)
}

// TestConformance is the runner: see the package's comment.
func TestConformance(t *testing.T) {
	t.Parallel()
	s, err := load(os.Getenv("CONFORMANCE_DIR"))
	if err != nil {
		t.Fatal(err)
	}
	items := itemsOf(s)
	var note string
	if only := os.Getenv("CONFORMANCE_ONLY"); only != "" {
		all := len(items)
		if items, err = restricted(items, only); err != nil {
			t.Fatal(err)
		}
		note = fmt.Sprintf("RESTRICTED to %d of %d items by CONFORMANCE_ONLY=%s\n", len(items), all, only)
	}
	run(t, s, items)
	text, line, failed := report(items)
	total = line
	fmt.Print(text + note)
	if failed > 0 {
		t.Fail()
	}
}

// load reads the set in a folder, or the packed one.
func load(dir string) (set.Set, error) {
	if dir != "" {
		if below := filepath.Join("..", dir); !filepath.IsAbs(dir) && isDir(below) {
			dir = below // said from the module's root; a test runs in its package
		}
		return set.Load(dir)
	}
	b, err := os.ReadFile(packed)
	if err != nil {
		return nil, err
	}
	return set.Unpack(bytes.NewReader(b))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// item is a file of the set.
type item struct {
	file, family string
	topology     *topology // nil: none is registered, or the file is about none
	diff         string    // "" when it has passed
}

func itemsOf(s set.Set) []*item {
	var out []*item
	for _, folder := range []string{set.Vectors, set.Descriptions, set.InternalTopics, set.Formats} {
		for _, file := range s.Files(folder) {
			i := &item{file: file, family: "formats"}
			if name, _ := set.Topology(file); name != "" {
				i.family = "(not registered)"
				if top, ok := registry[name]; ok {
					i.topology, i.family = top, top.family
				}
			}
			out = append(out, i)
		}
	}
	return out
}

// restricted are the items of which "<family> <path>" matches.
func restricted(items []*item, only string) ([]*item, error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(items, func(i *item) bool { return !match.MatchString(i.family + " " + i.file) }), nil
}

// run tries all items, several at a time.
func run(t *testing.T, s set.Set, items []*item) {
	work := make(chan *item)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := range work {
				i.diff = i.run(t, s)
			}
		})
	}
	for _, i := range items {
		work <- i
	}
	close(work)
	all.Wait()
}

// run tries an item and returns the first difference.
func (i *item) run(t testing.TB, s set.Set) string {
	folder, _, _ := strings.Cut(i.file, "/")
	if folder == set.Formats {
		return try(t, func(*probe) string { return checkFormat(i.file, s[i.file]) })
	}
	name, how := set.Topology(i.file)
	if i.topology == nil {
		return "no topology " + name + " is registered"
	}
	return try(t, func(p *probe) string {
		switch folder {
		case set.Descriptions:
			return i.topology.described(s, i.file, how)
		case set.InternalTopics:
			return i.topology.needs(s[i.file])
		default:
			v, err := set.Parse(s[i.file])
			if err != nil {
				return err.Error()
			}
			return i.topology.replay(p, v)
		}
	})
}

// tally is what became of a family.
type tally struct{ passed, failed int }

// report lists the failures and the figures.
func report(items []*item) (text, total string, failed int) {
	var b strings.Builder
	families := map[string]*tally{}
	all := tally{}
	for _, i := range slices.SortedFunc(slices.Values(items), func(a, b *item) int { return cmp.Compare(a.file, b.file) }) {
		f := families[i.family]
		if f == nil {
			f = &tally{}
			families[i.family] = f
		}
		if i.diff == "" {
			f.passed++
			all.passed++
			continue
		}
		f.failed++
		all.failed++
		fmt.Fprintf(&b, "FAILED %s: %s\n", i.file, i.diff)
	}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		fmt.Fprintf(&b, "%-24s %5d passed %5d failed\n", name, families[name].passed, families[name].failed)
	}
	return b.String(), fmt.Sprintf("%d passed, %d failed", all.passed, all.failed), all.failed
}
