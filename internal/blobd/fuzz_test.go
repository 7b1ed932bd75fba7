package blobd_test

import (
	"encoding/xml"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/clock"
)

// hostileNames are what people try to leave a folder with.
var hostileNames = []string{
	"..", "../x", "../../../../etc/passwd", "a/../../b", "%2e%2e/x", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5C..%5Cx", `..\..\x`,
	"%5C%5Cserver%5Cshare", "C:\\x", "c:/windows/x", "/absolute", "//double", "a//b", "./.", ".", "a/.", "trailing.", "trailing ", "NUL", "CON",
	"aux.txt", "COM1", "com¹", "\xc0\xae\xc0\xae/x", "\xe0\x80\xaf", "\xff\xfe", "a\x00b", "a\nb", "\u202egnp.exe", "\ufeff", "\ufffe", "\x01\x02",
	"head.json", "lock", "format", "tmp/1", "%", "%zz", "%00", "?", "#", "a;b", "<Name>", "]]>", "&amp;", strings.Repeat("a", 1024), strings.Repeat("/", 1024),
	strings.Repeat("é", 1024), strings.Repeat("../", 300), "e\u0301", "\u00e9",
}

// tryName makes a name, hostile or not, go through every path that a name takes. It checks that nothing appears outside
// the server's folder or under a name of its own in it, that the name comes back as it was sent, and that nothing
// is left when it is deleted.
func tryName(t *testing.T, s *blobd.Server, root, name string) {
	t.Helper()
	do := func(method, path, content string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, "http://localhost/", strings.NewReader(content))
		req.RequestURI = path
		before, query, _ := strings.Cut(path, "?")
		req.URL = &url.URL{Path: before, RawQuery: query}
		req.Header.Set("Authorization", "Bearer owner")
		req.Header.Set("X-Ms-Blob-Type", "BlockBlob")
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, req)
		return rec
	}
	target := "/devstore/plain/" + url.PathEscape(name)
	rec := do(http.MethodPut, target, "payload")
	valid := name != "" && utf8.ValidString(name) && !strings.ContainsRune(name, 0) && utf8.RuneCountInString(name) <= 1024
	if valid != (rec.Code == http.StatusCreated) || rec.Code >= 500 {
		t.Fatalf("PUT %q: %d %s", name, rec.Code, rec.Header().Get("X-Ms-Error-Code"))
	}
	checkTree(t, root)
	if !valid {
		return
	}
	if rec := do(http.MethodGet, target, ""); rec.Code != 200 || rec.Body.String() != "payload" {
		t.Fatalf("GET %q: %d %q", name, rec.Code, rec.Body)
	}
	list := do(http.MethodGet, "/devstore/plain?restype=container&comp=list&prefix="+url.QueryEscape(name), "")
	if got := firstName(t, list.Body.Bytes()); got != name {
		t.Fatalf("the list has %q for %q", got, name)
	}
	if rec := do(http.MethodDelete, target, ""); rec.Code != http.StatusAccepted {
		t.Fatalf("DELETE %q: %d", name, rec.Code)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "store", "c", "*", "b", "*")); len(left) != 0 {
		t.Fatalf("%q left %v", name, left)
	}
}

func firstName(t *testing.T, doc []byte) string {
	t.Helper()
	var list struct {
		Names []struct {
			Text    string `xml:",chardata"`
			Encoded bool   `xml:"Encoded,attr"`
		} `xml:"Blobs>Blob>Name"`
	}
	if err := xml.Unmarshal(doc, &list); err != nil {
		t.Fatalf("%v in %q", err, doc)
	}
	if len(list.Names) != 1 {
		t.Fatalf("%d names in %q", len(list.Names), doc)
	}
	if !list.Names[0].Encoded {
		return list.Names[0].Text
	}
	return must(url.PathUnescape(list.Names[0].Text))(t)
}

// checkTree fails when a file lies outside the store, or its name is not one that the server made.
func checkTree(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if rel != "." && rel != "store" && !strings.HasPrefix(rel, "store"+string(os.PathSeparator)) {
			t.Fatalf("%s lies outside the store", rel)
		}
		for _, r := range e.Name() {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-.", r) && rel != "." {
				t.Fatalf("%s is no name that the server makes", rel)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// namesServer has its folder one level down, so that what escapes from it is seen.
func namesServer(tb testing.TB) (*blobd.Server, string) {
	tb.Helper()
	root := tb.TempDir()
	s, err := blobd.Open(blobd.Config{Dir: filepath.Join(root, "store"), Account: account, Key: key, Clock: clock.NewManual(origin),
		Log: slog.New(slog.DiscardHandler), VerifyBearer: roles, Containers: []blobd.ContainerConfig{{Name: "plain"}}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s, root
}

func TestHostileNamesStayInsideAndComeBack(t *testing.T) {
	t.Parallel()
	s, root := namesServer(t)
	for _, name := range hostileNames {
		tryName(t, s, root, name)
	}
}

func FuzzBlobName(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name)
	}
	s, root := namesServer(f)
	f.Fuzz(func(t *testing.T, name string) { tryName(t, s, root, name) })
}

// FuzzRequestTarget sends raw targets: whatever comes, the answer is not the server's fault and nothing escapes.
func FuzzRequestTarget(f *testing.F) {
	for _, name := range hostileNames {
		f.Add("PUT", "/devstore/plain/"+name)
		f.Add("GET", "/devstore/"+name+"?comp=list&restype=container&marker="+name)
	}
	f.Add("POST", "/devstore/?comp=batch")
	s, root := namesServer(f)
	f.Fuzz(func(t *testing.T, method, target string) {
		req := httptest.NewRequest(http.MethodGet, "http://localhost/", strings.NewReader("x"))
		path, query, _ := strings.Cut(target, "?")
		req.Method, req.RequestURI, req.URL = method, target, &url.URL{Path: path, RawQuery: query}
		req.Header.Set("Authorization", "Bearer owner")
		req.Header.Set("X-Ms-Blob-Type", "BlockBlob")
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, req)
		if rec.Code >= 500 && rec.Code != http.StatusNotImplemented {
			t.Fatalf("%s %q: %d %s", method, target, rec.Code, rec.Body)
		}
		checkTree(t, root)
	})
}
