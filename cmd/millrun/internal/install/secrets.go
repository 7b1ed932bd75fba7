package install

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/config"
)

// secretsFile keeps what was drawn at the first start, so that keys and passwords outlive a restart.
const secretsFile = "secrets.json"

// secrets are the installation's keys and passwords, in clear: the file is readable by its owner alone.
type secrets struct {
	APIKeys   map[string]string `json:"api_keys"`  // by tenant
	TeamKeys  map[string]string `json:"team_keys"` // by team
	Operator  string            `json:"operator"`
	Logins    map[string]string `json:"logins"` // passwords by login
	Blob      string            `json:"blob"`   // base64, 64 bytes
	LedgerKey string            `json:"ledger_key"`
}

// analyticsTeam reads and applies nothing, so no change topic tells its login.
const analyticsTeam, analyticsLogin = "analytics", "analytics_ro"

// logins are the database logins by the team that uses them, and teamTopics the change topic that each team owns: both
// follow from the change topics.
var logins, teamTopics = ownership()

func ownership() (logins, topics map[string]string) {
	logins, topics = map[string]string{analyticsTeam: analyticsLogin}, map[string]string{}
	for _, topic := range changes.Topics() {
		team, _ := changes.Owner(topic)
		logins[string(team)], _ = changes.Login(topic)
		topics[string(team)] = topic
	}
	return logins, topics
}

// loadSecrets reads the installation's secrets, drawing those that are not there yet.
func loadSecrets(dir string, tenants []string) (*secrets, error) {
	path := filepath.Join(dir, secretsFile)
	s := &secrets{APIKeys: map[string]string{}, TeamKeys: map[string]string{}, Logins: map[string]string{}}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("install: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(b, s); err != nil {
			return nil, fmt.Errorf("install: %s: %w", path, err)
		}
	}
	s.draw(tenants)
	return s, writeJSON(path, s)
}

func (s *secrets) draw(tenants []string) {
	for _, t := range tenants {
		if s.APIKeys[t] == "" {
			s.APIKeys[t] = "mr_" + rand.Text()
		}
	}
	for team := range teamTopics {
		if s.TeamKeys[team] == "" {
			s.TeamKeys[team] = "mr_" + rand.Text()
		}
	}
	for _, login := range logins {
		if s.Logins[login] == "" {
			s.Logins[login] = rand.Text()
		}
	}
	for _, field := range []*string{&s.Operator, &s.LedgerKey} {
		if *field == "" {
			*field = rand.Text()
		}
	}
	if s.Blob == "" {
		key := make([]byte, 64)
		rand.Read(key)
		s.Blob = base64.StdEncoding.EncodeToString(key)
	}
}

// apiKeys are the keys as the API is configured with them: digests, owners and scopes.
func (s *secrets) apiKeys() []config.APIKey {
	var keys []config.APIKey
	for tenant, key := range s.APIKeys {
		keys = append(keys, config.APIKey{Name: tenant, Tenant: tenant, Scopes: []string{"images:read", "images:write"}, SHA256: digest(key)})
	}
	for team, key := range s.TeamKeys {
		keys = append(keys, config.APIKey{Name: team, Team: team, Scopes: []string{"changes:" + teamTopics[team]}, SHA256: digest(key)})
	}
	return append(keys, config.APIKey{Name: "operator", Scopes: []string{"operate", "admin"}, SHA256: digest(s.Operator)})
}

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// writeJSON replaces a file that holds secrets in one step.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(append(b, '\n')); err != nil {
		return errors.Join(fmt.Errorf("install: %w", err), tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	return nil
}
