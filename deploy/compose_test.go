package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// project reads the compose files as `docker compose` does.
func project(t *testing.T, files ...string) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions(files, cli.WithWorkingDirectory(".."), cli.WithProfiles([]string{"*"}), cli.WithoutEnvironmentResolution)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// projects are the ways in which the compose files are meant to be used.
func projects(t *testing.T) map[string]*types.Project {
	t.Helper()
	return map[string]*types.Project{
		"blobd":   project(t, "../docker-compose.yml"),
		"azurite": project(t, "../docker-compose.yml", "compose/azurite.yml"),
	}
}

// oneShots end by themselves.
var oneShots = []string{"topics", "access"}

// ours says whether a service runs our own binary.
func ours(s types.ServiceConfig) bool { return s.Build != nil }

var exactTag = regexp.MustCompile(`:(\d+\.\d+(\.\d+)?|compose)$`)

func TestEveryRoleRunsOnce(t *testing.T) {
	t.Parallel()
	for way, p := range projects(t) {
		var roles []string
		for _, s := range p.Services {
			if ours(s) && len(s.Command) > 1 && s.Command[0] == "run" {
				roles = append(roles, s.Command[1])
			}
		}
		slices.Sort(roles)
		want := []string{"analytics", "api", "archive", "feed", "orders", "purge", "worker"}
		if !slices.Equal(roles, want) {
			t.Errorf("%s: roles %v, want %v", way, roles, want)
		}
	}
}

func TestServicesAreWatchedAndExact(t *testing.T) {
	t.Parallel()
	for way, p := range projects(t) {
		for name, s := range p.Services {
			if (s.HealthCheck == nil || len(s.HealthCheck.Test) == 0) && !slices.Contains(oneShots, name) {
				t.Errorf("%s: %s has no health check", way, name)
			}
			if !exactTag.MatchString(s.Image) {
				t.Errorf("%s: %s has the image %q: want an exact tag", way, name, s.Image)
			}
		}
	}
	dockerfile, err := os.ReadFile("compose/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(dockerfile)) {
		if from, ok := strings.CutPrefix(line, "FROM "); ok && !exactTag.MatchString(strings.Fields(from)[0]) {
			t.Errorf("Dockerfile: %s has no exact tag", strings.TrimSpace(line))
		}
	}
}

func TestSecretsAreFiles(t *testing.T) {
	t.Parallel()
	secret := regexp.MustCompile(`(?i)password|key|secret|token|connection`)
	for way, p := range projects(t) {
		for name, s := range p.Secrets {
			if s.File == "" || !strings.Contains(s.File, filepath.Join("deploy", "compose", "secrets")) {
				t.Errorf("%s: the secret %s is no file of deploy/compose/secrets: %+v", way, name, s)
			}
		}
		for name, s := range p.Services {
			for k, v := range s.Environment {
				if secret.MatchString(k) && v != nil && !strings.Contains(*v, "/run/secrets/") {
					t.Errorf("%s: %s has %s in its environment", way, name, k)
				}
			}
			for _, used := range s.Secrets {
				if _, ok := p.Secrets[used.Source]; !ok {
					t.Errorf("%s: %s uses the secret %s, which nobody declares", way, name, used.Source)
				}
			}
			for _, word := range append(slices.Clone([]string(s.Command)), values(s.Environment)...) {
				file, ok := strings.CutPrefix(word, "file:/run/secrets/")
				if !ok {
					file, ok = strings.CutPrefix(word, "/run/secrets/")
				}
				if ok && !slices.ContainsFunc(s.Secrets, func(u types.ServiceSecretConfig) bool { return u.Source == file }) {
					t.Errorf("%s: %s reads /run/secrets/%s without having it", way, name, file)
				}
			}
		}
	}
}

func values(env types.MappingWithEquals) []string {
	var vs []string
	for _, v := range env {
		if v != nil {
			vs = append(vs, *v)
		}
	}
	return vs
}

func TestServicesWaitForWhatTheyNeed(t *testing.T) {
	t.Parallel()
	for way, p := range projects(t) {
		for name, s := range p.Services {
			for on, d := range s.DependsOn {
				want := types.ServiceConditionHealthy
				if slices.Contains(oneShots, on) {
					want = types.ServiceConditionCompletedSuccessfully
				}
				if d.Condition != want {
					t.Errorf("%s: %s waits for %s until %s, want %s", way, name, on, d.Condition, want)
				}
			}
			if ours(s) && name != "blobd" && len(s.DependsOn) == 0 {
				t.Errorf("%s: %s waits for nothing", way, name)
			}
		}
	}
}

func TestOnlyAzuriteGetsAMutableArchive(t *testing.T) {
	t.Parallel()
	const flag = "--allow-mutable-archive"
	ways := projects(t)
	for name, s := range ways["blobd"].Services {
		if slices.Contains(s.Command, flag) {
			t.Errorf("%s accepts a mutable archive without need", name)
		}
	}
	for _, name := range []string{"api", "feed", "worker", "archive", "purge", "analytics"} {
		if !slices.Contains(ways["azurite"].Services[name].Command, flag) {
			t.Errorf("%s would refuse Azurite", name)
		}
	}
}

// TestCommandsExist asks the binary itself: each command's help must know the role and every flag.
func TestCommandsExist(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "millrun")
	build(t, bin)
	for way, p := range projects(t) {
		for name, s := range p.Services {
			if ours(s) {
				checkCommand(t, bin, way+": "+name, s.Command)
			}
		}
	}
}

func checkCommand(t *testing.T, bin, where string, command []string) {
	t.Helper()
	var words []string
	for _, w := range command {
		if strings.HasPrefix(w, "--") {
			break
		}
		words = append(words, w)
	}
	asked := words
	if words[0] == "run" {
		asked = words[:1] // a role is an argument, not a command
	}
	help, err := exec.CommandContext(t.Context(), bin, append(slices.Clone(asked), "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v: %v\n%s", where, command, err, help)
		return
	}
	for _, w := range command {
		if (strings.HasPrefix(w, "--") || words[0] == "run") && !strings.Contains(string(help), w) {
			t.Errorf("%s: `millrun %s` does not know %s", where, strings.Join(asked, " "), w)
		}
	}
}

// TestSecretsScriptMakesEverySecret runs the script on a copy and compares with what the services want.
func TestSecretsScriptMakesEverySecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets.sh")
	copyFile(t, "compose/secrets.sh", path)
	for range 2 { // the second run changes nothing
		if out, err := exec.CommandContext(t.Context(), "sh", path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for name, s := range project(t, "../docker-compose.yml").Secrets {
		b, err := os.ReadFile(filepath.Join(dir, "secrets", filepath.Base(s.File)))
		if err != nil || len(b) == 0 {
			t.Errorf("the script makes no %s: %v", name, err)
		}
	}
	checkConfig(t, filepath.Join(dir, "secrets"))
	info, err := os.Stat(filepath.Join(dir, "secrets"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the secrets' folder has mode %v, %v", info.Mode(), err)
	}
}

// checkConfig loads the made configuration as a container would, with the secrets where they are here.
func checkConfig(t *testing.T, secrets string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(secrets, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "/run/secrets", secrets)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, []string{"MILLRUN_DATABASE_ADMIN=file:" + filepath.Join(secrets, "database_admin")})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Require(config.PartKafka, config.PartBlob, config.PartTenants, config.PartHMAC, config.PartDatabase, config.PartAdmin)
	if err != nil {
		t.Error(err)
	}
}
