package blobd

import (
	"bytes"
	"encoding/xml"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// xmlWriter builds the service's XML, whose element names are fixed and whose text is escaped. Elements without a
// value are left out by the optional forms.
type xmlWriter struct{ buf bytes.Buffer }

func (x *xmlWriter) bytes() []byte { return x.buf.Bytes() }

func (x *xmlWriter) open(name string)  { x.buf.WriteString("<" + name + ">") }
func (x *xmlWriter) close(name string) { x.buf.WriteString("</" + name + ">") }

// openWith opens an element with attributes given as name, value pairs.
func (x *xmlWriter) openWith(name string, attrs ...string) {
	x.buf.WriteString("<" + name)
	for pair := range slices.Chunk(attrs, 2) {
		x.buf.WriteString(" " + pair[0] + `="`)
		x.text(pair[1])
		x.buf.WriteString(`"`)
	}
	x.buf.WriteString(">")
}

func (x *xmlWriter) text(s string) { _ = xml.EscapeText(&x.buf, []byte(s)) } // a Buffer never fails

func (x *xmlWriter) leaf(name, value string) {
	x.open(name)
	x.text(value)
	x.close(name)
}

func (x *xmlWriter) leafIf(name, value string) {
	if value != "" {
		x.leaf(name, value)
	}
}

func (x *xmlWriter) leafTime(name string, t time.Time) {
	if !t.IsZero() {
		x.leaf(name, httpTime(t))
	}
}

func (x *xmlWriter) leafTrue(name string, value bool) {
	if value {
		x.leaf(name, strconv.FormatBool(value))
	}
}

// name writes a blob's name; one that XML cannot carry is percent-encoded and says so.
func (x *xmlWriter) name(name string) {
	if strings.ContainsFunc(name, notXML) {
		x.openWith("Name", "Encoded", "true")
		x.text(url.PathEscape(name))
		x.close("Name")
		return
	}
	x.leaf("Name", name)
}

// notXML says that XML 1.0 has no place for the character, or that a parser would change it.
func notXML(r rune) bool {
	return r < 0x20 || r == 0xFFFE || r == 0xFFFF
}

// pairs writes a map as one element per key.
func (x *xmlWriter) pairs(name string, values map[string]string) {
	x.open(name)
	for _, k := range sortedKeys(values) {
		x.leaf(k, values[k])
	}
	x.close(name)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
