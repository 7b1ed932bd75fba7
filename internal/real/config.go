package real

import (
	"fmt"
	"net/url"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// writeConfig writes a configuration of millrun for the parts that run: its keys are those that `millrun` documents.
// Credentials of the shop's roles are absent: `millrun access apply` makes those.
func writeConfig(dir string, s *Stack) error {
	config := map[string]any{}
	if k, ok := s.Parts[PartKafka]; ok {
		config["kafka"] = map[string]any{"brokers": k.Brokers, "replication": 1, "log_dir": k.LogDir}
	}
	if b, ok := s.Parts[PartAzurite]; ok {
		config["blob"] = map[string]any{"connection_string": b.ConnectionString}
	}
	if p, ok := s.Parts[PartPostgres]; ok {
		database, err := databaseConfig(dir, p.URL)
		if err != nil {
			return err
		}
		config["database"] = database
	}
	b, err := yaml.Marshal(config)
	if err != nil {
		return fmt.Errorf("real: %w", err)
	}
	return writePrivate(filepath.Join(dir, configFile), b)
}

// databaseConfig keeps the superuser's password in a file of its own, as every secret of a configuration is.
func databaseConfig(dir, admin string) (map[string]any, error) {
	u, err := url.Parse(admin)
	if err != nil {
		return nil, fmt.Errorf("real: %w", err)
	}
	secret := filepath.Join(dir, "database-admin")
	if err := writePrivate(secret, []byte(admin)); err != nil {
		return nil, err
	}
	u.User = nil
	return map[string]any{"url": u.String(), "admin": "file:" + secret}, nil
}
