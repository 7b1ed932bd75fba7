package lint

import (
	"go/ast"
	"go/token"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

const module = "github.com/millrun/millrun/"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(t *testing.T) (string, []*File) {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := Files(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("only %d files found: the rules would hold of nothing", len(files))
	}
	return root, files
}

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	for _, f := range files {
		limit := 600
		if f.Test {
			limit = 900
		}
		if f.Lines > limit {
			t.Errorf("%s has %d lines, at most %d: give each idea a file of its own", f.Path, f.Lines, limit)
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	for _, f := range files {
		if f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.Fset.Position(fn.End()).Line - f.Fset.Position(fn.Pos()).Line + 1; n > 60 {
				t.Errorf("%s: %s has %d lines, at most 60: name its steps", f.Fset.Position(fn.Pos()), fn.Name.Name, n)
			}
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	for _, f := range files {
		if f.Test || f.AST.Name.Name == "main" {
			continue
		}
		for _, name := range undocumented(f.AST) {
			t.Errorf("%s: %s has no doc comment: say what it stands for and what always holds", f.Path, name)
		}
	}
}

// undocumented lists the exported names of a file that have no comment of their own or of their group.
func undocumented(file *ast.File) []string {
	var names []string
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc.Text() == "" {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				names = append(names, undocumentedSpec(d, s)...)
			}
		}
	}
	return names
}

func undocumentedSpec(d *ast.GenDecl, s ast.Spec) []string {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc.Text() == "" && s.Doc.Text() == "" {
			return []string{s.Name.Name}
		}
	case *ast.ValueSpec:
		if s.Names[0].IsExported() && d.Doc.Text() == "" && s.Doc.Text() == "" && s.Comment.Text() == "" {
			return []string{s.Names[0].Name}
		}
	}
	return nil
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	name := ""
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return true
	})
	return ast.IsExported(name)
}

func TestPackagesHaveOneDocComment(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	docs, packages := map[string][]string{}, map[string]bool{}
	for _, f := range files {
		if f.Test {
			continue
		}
		packages[f.Package()] = true
		if f.AST.Doc.Text() != "" {
			docs[f.Package()] = append(docs[f.Package()], f.Path)
		}
	}
	for p := range packages {
		if n := len(docs[p]); n != 1 {
			t.Errorf("%s has %d package comments %v, want one", p, n, docs[p])
		}
	}
}

// layers says who may import whom: a package of one layer sees its own and those to the right of it in allowed.
var layers = []struct{ prefix, layer string }{
	{"cmd/", "cmd"},
	{"examples/", "examples"},
	{"conformance", "examples"},
	{"crash/check", "checker"},
	{"crash", "crash"},
	{"connectors/", "connectors"},
	{"processors/", "connectors"},
	{"stream/internal/", "engine"},
	{"stream", "stream"},
	{"deploy", "deploy"},
	{"internal/real", "rig"},
	{"internal/", "internal"},
}

// allowed has for each layer those it may import, besides itself.
var allowed = map[string][]string{
	"cmd":        {"connectors", "stream", "deploy", "internal", "rig", "examples"},
	"examples":   {"connectors", "stream", "internal"},
	"connectors": {"stream", "deploy", "internal"},
	"crash":      {"stream", "internal", "rig"}, // it looks at the library from outside and starts what the rig of tests starts
	"checker":    {},                            // a checker that shares code with what it checks would share its faults
	"stream":     {"engine", "internal"},
	"engine":     {"stream", "internal"}, // stream/serde and stream/state are below the engine; stream itself is forbidden apart
	"deploy":     {},
	"rig":        {"internal", "deploy"},
	"internal":   {"deploy", "stream"},
}

func layerOf(pkg string) string {
	for _, l := range layers {
		if strings.HasPrefix(pkg+"/", l.prefix) || pkg == strings.TrimSuffix(l.prefix, "/") {
			return l.layer
		}
	}
	return ""
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	for _, f := range files {
		from := layerOf(f.Package())
		if from == "" {
			t.Errorf("%s belongs to no layer: put it where design and ARCHITECTURE.md say", f.Path)
		}
		if f.Test {
			continue
		}
		for _, to := range imports(f.AST) {
			rel, ours := strings.CutPrefix(to, module)
			if !ours {
				continue
			}
			target := layerOf(rel)
			if target != from && !slices.Contains(allowed[from], target) {
				t.Errorf("%s imports %s: %s may not look at %s; move what both need below them", f.Path, rel, from, target)
			}
			if from == "engine" && rel == "stream" {
				t.Errorf("%s imports the typed surface: the engine works on bytes", f.Path)
			}
		}
	}
}

func imports(file *ast.File) []string {
	var paths []string
	for _, i := range file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// forbidden imports and calls of the packages that must give the same answer for the same input.
var forbidden = map[string]string{
	"net": "sockets belong to stream/internal/run", "net/http": "sockets belong to stream/internal/run", "os": "files belong to a store",
	"math/rand": "the caller hands random numbers in", "math/rand/v2": "the caller hands random numbers in", "crypto/rand": "the caller hands random numbers in",
	"github.com/twmb/franz-go/pkg/kgo": "the client belongs to stream/internal/run", "sync": "a task has one owner and needs no lock",
}

func TestTheCoreDoesNoIO(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	for _, f := range files {
		if f.Test || !slices.Contains([]string{"stream/internal/plan", "stream/internal/task", "stream/internal/commit"}, f.Package()) {
			continue
		}
		for _, p := range imports(f.AST) {
			if why, bad := forbidden[p]; bad {
				t.Errorf("%s imports %s: %s", f.Path, p, why)
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: the core starts no goroutine", f.Fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if id, ok := n.X.(*ast.Ident); ok && id.Name == "time" && slices.Contains([]string{"Now", "Sleep", "After", "NewTimer", "NewTicker", "Since"}, n.Sel.Name) {
					t.Errorf("%s: the core reads no clock: time comes in as a value", f.Fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

func TestSuppressionsAreFewAndExplained(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	explained := regexp.MustCompile(`^//nolint:[a-z0-9,]+ // \S`)
	count := 0
	for _, f := range files {
		for _, g := range f.AST.Comments {
			for _, c := range g.List {
				if !strings.HasPrefix(c.Text, "//nolint") {
					continue
				}
				count++
				if !explained.MatchString(c.Text) {
					t.Errorf("%s: write //nolint:LINTER // WHY", f.Fset.Position(c.Pos()))
				}
			}
		}
	}
	if count > 10 {
		t.Errorf("%d suppressions in the tree, at most 10", count)
	}
}

func TestNothingIsLeftToBeDone(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	unfinished := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	for _, f := range files {
		for _, g := range f.AST.Comments {
			if unfinished.MatchString(g.Text()) {
				t.Errorf("%s: open an issue, or do it", f.Fset.Position(g.Pos()))
			}
		}
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	for _, f := range files {
		if !f.Test || usesPackage(f.AST, "testing/synctest") {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if id, ok := s.X.(*ast.Ident); ok && id.Name == "time" {
					t.Errorf("%s: wait for what must happen, not for time to pass", f.Fset.Position(s.Pos()))
				}
			}
			return true
		})
	}
}

func usesPackage(file *ast.File, p string) bool { return slices.Contains(imports(file), p) }

func TestPackagesWatchForLeakedGoroutines(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	starts, watched := map[string]token.Position{}, map[string]bool{}
	for _, f := range files {
		if f.Test {
			watched[f.Package()] = watched[f.Package()] || usesPackage(f.AST, "go.uber.org/goleak")
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				starts[f.Package()] = f.Fset.Position(g.Pos())
			}
			return true
		})
	}
	for p, pos := range starts {
		if !watched[p] && !strings.HasPrefix(p, "cmd/millrun") {
			t.Errorf("%s starts a goroutine (%s) but no test of the package asks goleak", p, pos)
		}
	}
}

func TestPackageNamesSaySomething(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	for _, f := range files {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "base"}, path.Base(f.Package())) {
			t.Errorf("%s: name the package after what it holds", f.Path)
		}
	}
}

func TestStreamStaysSmall(t *testing.T) {
	t.Parallel()
	root, files := load(t)
	count := 0
	for _, f := range files {
		if f.Package() == "stream" && !f.Test {
			count += exportedNames(f.AST)
		}
	}
	if count == 0 || count > 170 {
		t.Errorf("stream exports %d names, want 1 to 170", count)
	}
	packages := slices.DeleteFunc(list(t, root, "-f", "{{.ImportPath}}", "./stream/..."), func(p string) bool { return slices.Contains([]string{module + onDisk, module + ofDisk}, p) })
	modules := list(t, root, append([]string{"-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, packages...)...)
	slices.Sort(modules)
	if modules = slices.Compact(modules); len(modules) > 13 {
		t.Errorf("stream needs %d modules besides itself, at most 12: %v", len(modules)-1, modules)
	}
}

// onDisk is the one package that needs the database of stores on disk, and what that needs: who keeps stores in memory does
// not pay for it.
const (
	onDisk = "stream/internal/store/disk"
	ofDisk = "stream/state/pebble" // what applications import to have it

	simulated = "stream/internal/sim" // tests alone, which crash its file system
)

func list(t *testing.T, root string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func TestStoresInMemoryNeedNoDatabase(t *testing.T) {
	t.Parallel()
	_, files := load(t)
	for _, f := range files {
		for _, p := range imports(f.AST) {
			if strings.HasPrefix(p, "github.com/cockroachdb/pebble") && f.Package() != onDisk && f.Package() != simulated {
				t.Errorf("%s imports %s: only %s may", f.Path, p, onDisk)
			}
		}
	}
}

func exportedNames(file *ast.File) int {
	n := 0
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.IsExported() {
				n++
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						n++
					}
				case *ast.ValueSpec:
					for _, id := range s.Names {
						if id.IsExported() {
							n++
						}
					}
				}
			}
		}
	}
	return n
}
