package demo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // formats that the pipeline accepts
	_ "image/jpeg" // formats that the pipeline accepts
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "golang.org/x/image/webp" // formats that the pipeline accepts

	"github.com/millrun/millrun/internal/events"
)

// photo is a picture of the story and what becomes of it.
type photo struct {
	name          string
	bytes         []byte
	sha           [32]byte
	decodes       bool // by the decoders of the standard library, in full
	width, height int
	format        string

	id     string // set when it was accepted
	origin string
}

func newPhoto(name string, b []byte) *photo {
	p := &photo{name: name, bytes: b, sha: sha256.Sum256(b)}
	if img, format, err := image.Decode(bytes.NewReader(b)); err == nil {
		p.decodes, p.format = true, format
		p.width, p.height = img.Bounds().Dx(), img.Bounds().Dy()
	}
	return p
}

// idFor is the name that the pipeline must give the picture.
func (p *photo) idFor(tenant string) string { return events.ImageID(tenant, p.sha) }

// extensions of the accepted formats, as photographers write them.
var extensions = []string{".jpg", ".jpeg", ".png", ".gif", ".webp"}

// readPhotos takes every picture of the folders, each content once, in a fixed order.
func readPhotos(dirs []string) ([]*photo, error) {
	var photos []*photo
	seen := map[[32]byte]bool{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !slices.Contains(extensions, strings.ToLower(filepath.Ext(path))) {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if p := newPhoto(d.Name(), b); !seen[p.sha] {
				seen[p.sha] = true
				photos = append(photos, p)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("demo: pictures: %w", err)
		}
	}
	if len(photos) < 6 {
		return nil, fmt.Errorf("demo: only %d pictures below %s; the story needs six", len(photos), strings.Join(dirs, ", "))
	}
	return photos, nil
}

// truncatedJPEG is the first half of a photograph.
func truncatedJPEG(photos []*photo) (*photo, error) {
	for _, p := range photos {
		if p.format == "jpeg" && len(p.bytes) > 4096 {
			return newPhoto("truncated-"+p.name, p.bytes[:len(p.bytes)/2]), nil
		}
	}
	return nil, errors.New("demo: no JPEG among the pictures")
}

// variants draws n small pictures that nobody has seen before, for the burst in which a worker dies.
func variants(base *photo, n int, seed byte) ([]*photo, error) {
	img, _, err := image.Decode(bytes.NewReader(base.bytes))
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	var photos []*photo
	for i := range n {
		b, err := tinted(img, byte(i), seed)
		if err != nil {
			return nil, err
		}
		photos = append(photos, newPhoto(fmt.Sprintf("variant-%d.png", i), b))
	}
	return photos, nil
}

// tinted is the top left corner of img, shifted in colour.
func tinted(img image.Image, i, seed byte) ([]byte, error) {
	bounds := img.Bounds()
	w, h := min(bounds.Dx(), 160), min(bounds.Dy(), 120)
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			r, g, b, _ := img.At(bounds.Min.X+x, bounds.Min.Y+y).RGBA()
			copy(out.Pix[out.PixOffset(x, y):], []byte{byte(r>>8) + i, byte(g>>8) ^ seed, byte(b >> 8), 0xff})
		}
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, out); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return buf.Bytes(), nil
}
