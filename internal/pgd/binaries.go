package pgd

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/xi2/xz"

	"github.com/millrun/millrun/internal/cache"
)

// Version is the PostgreSQL that is fetched; Major is what its data folder is bound to.
const (
	Version = "15.19"
	Major   = "15"
)

// release is Version as the embedded-postgres-binaries project names it.
const release = "15.19.0"

// repository is Maven Central, where that project publishes.
const repository = "https://repo1.maven.org/maven2/io/zonky/test/postgres"

// digests are the SHA-256 of the published jars by platform. A jar with another digest is refused.
var digests = map[string]string{
	"linux-amd64":        "95f0b66fe72d4ca66c815773c44cb1196ea38552463e89a35f18114b3ed1565f",
	"linux-amd64-alpine": "a04a72fb429fed3624507f54244a69f43be491c67f744e58c1a3696a67262aab",
	"linux-arm64v8":      "95baf4bd4af31b91b3050118df59388ed0064756b556b850669e0300aa7b9911",
	"darwin-amd64":       "11d0a55e26f4c74c6ea6c72c5e4e6ac959b29a06cc6da5e5ac8162f9fd9f8055",
	"darwin-arm64v8":     "9bfc44d3f50298bb14fa125da4b67a36f382f8134ab2fc95349b72bcd5ec4e87",
}

// platform is this machine's name in that project.
func platform() string {
	arch := runtime.GOARCH
	if arch == "arm64" {
		arch = "arm64v8"
	}
	name := runtime.GOOS + "-" + arch
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		name += "-alpine" // another C library, other binaries
	}
	return name
}

// fetched is the folder with bin, lib and share in the cache, filled on first use.
func fetched(ctx context.Context, cacheDir string) (string, error) {
	p := platform()
	digest, ok := digests[p]
	if !ok {
		return "", fmt.Errorf("pgd: there are no PostgreSQL binaries for %s: install PostgreSQL %s and name its bin folder", p, Major)
	}
	if cacheDir == "" {
		var err error
		if cacheDir, err = cache.Dir(); err != nil {
			return "", fmt.Errorf("pgd: %w", err)
		}
	}
	dir, err := cache.Prepared(ctx, cacheDir, "postgresql-"+release+"-"+p, func(ctx context.Context, dir string) error {
		jar, err := download(ctx, fmt.Sprintf("%s/embedded-postgres-binaries-%s/%s/embedded-postgres-binaries-%s-%s.jar",
			repository, p, release, p, release))
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(jar); hex.EncodeToString(sum[:]) != digest {
			return fmt.Errorf("pgd: PostgreSQL binaries for %s have digest %x, want %s", p, sum, digest)
		}
		return unpackJar(jar, filepath.Join(dir, "pgsql"))
	})
	if err != nil {
		return "", fmt.Errorf("pgd: %w", err)
	}
	return filepath.Join(dir, "pgsql"), nil
}

// download reads a whole file of some 15 MB. The client honours HTTPS_PROXY.
func download(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("pgd: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("pgd: fetch PostgreSQL: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 100<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("pgd: fetch %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("pgd: fetch %s: %s", url, resp.Status)
	}
	return b, nil
}

// unpackJar unpacks the archive in the jar (a zip with one tar.xz) into dir.
func unpackJar(jar []byte, dir string) error {
	z, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, ".txz") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("pgd: %w", err)
		}
		return errors.Join(unpackXZ(r, dir), r.Close())
	}
	return errors.New("pgd: no archive in the PostgreSQL jar")
}

func unpackXZ(r io.Reader, dir string) error {
	x, err := xz.NewReader(r, 0)
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	return errors.Join(unpackTar(tar.NewReader(x), root), root.Close())
}

// unpackTar unpacks what a server needs; what only a C compiler needs is left out.
func unpackTar(r *tar.Reader, root *os.Root) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pgd: %w", err)
		}
		if strings.HasSuffix(h.Name, ".a") || strings.Contains(h.Name, "/pkgconfig") {
			continue
		}
		if err := unpackEntry(root, h, r); err != nil {
			return fmt.Errorf("pgd: unpack %s: %w", h.Name, err)
		}
	}
}

func unpackEntry(root *os.Root, h *tar.Header, r io.Reader) error {
	name := filepath.Clean(h.Name)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(h.Mode)&0o755|0o444)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	default:
		return nil
	}
}
