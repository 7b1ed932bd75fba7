package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeShowsTheProgramThatRuns compares the README's word count with the example, which is compiled and executed
// by its own test, and holds it to twenty lines.
func TestReadmeShowsTheProgramThatRuns(t *testing.T) {
	t.Parallel()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(root, "examples", "wordcount", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	shown, _, found := strings.Cut(rest, "```")
	_, code, _ := strings.Cut(string(program), ")\n\nfunc ")
	if !found || shown != "func "+code {
		t.Errorf("README.md shows another program than examples/wordcount/main.go:\n%s", shown)
	}
	lines := 0
	for line := range strings.Lines(shown) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines == 0 || lines > 20 {
		t.Errorf("the word count has %d lines, at most 20", lines)
	}
}

// TestDocumentsLinkToWhatExists follows every relative link of the Markdown files.
func TestDocumentsLinkToWhatExists(t *testing.T) {
	t.Parallel()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"} {
		documents = append(documents, filepath.Join(root, name))
	}
	links := 0
	for _, d := range documents {
		b, err := os.ReadFile(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(prose(string(b)), "](")[1:] {
			target, _, _ := strings.Cut(part, ")")
			target, _, _ = strings.Cut(target, "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(d), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", filepath.Base(d), target)
			}
		}
	}
	if links == 0 {
		t.Error("no link was found: the search is broken")
	}
}

// prose is a document without its blocks of code.
func prose(document string) string {
	var text strings.Builder
	for i, part := range strings.Split(document, "```") {
		if i%2 == 0 {
			text.WriteString(part)
		}
	}
	return text.String()
}
