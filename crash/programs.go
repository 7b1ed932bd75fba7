package crash

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs are the paths of the built commands that a run starts.
type Programs struct{ Worker, Check string }

// Build builds the programs into dir. It is called below the module's root.
func Build(ctx context.Context, dir string) (Programs, error) {
	p := Programs{Worker: filepath.Join(dir, "worker"), Check: filepath.Join(dir, "check")}
	const at = "github.com/millrun/millrun/crash/"
	for path, pkg := range map[string]string{p.Worker: at + "worker", p.Check: at + "check"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("crash: build %s: %w\n%s", pkg, err, out)
		}
	}
	return p, nil
}
