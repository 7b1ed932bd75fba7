package kafkad

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// starts remembers where each partition's log starts, in a file that is written before records are deleted. A start
// never goes back as long as its topic lives; a topic made again under an old name has another id and begins anew.
// Safe for concurrent use.
type starts struct {
	dir string

	mu     sync.Mutex
	topics map[string]topicStarts
}

// topicStarts are the starts of one topic's partitions.
type topicStarts struct {
	ID     [16]byte        `json:"id"`
	Starts map[int32]int64 `json:"starts"`
}

func startsFile(dir string) string { return filepath.Join(dir, "starts.json") }

func openStarts(dir string) (*starts, error) {
	s := &starts{dir: dir, topics: make(map[string]topicStarts)}
	if err := readJSON(startsFile(dir), &s.topics); err != nil {
		return nil, err
	}
	return s, nil
}

// set notes that the partition starts at offset from now on; it is on disk when set returns.
func (s *starts) set(topic string, id [16]byte, partition int32, offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.topics[topic]
	if !ok || t.ID != id {
		t = topicStarts{ID: id, Starts: make(map[int32]int64)}
	}
	if t.Starts[partition] >= offset {
		return nil
	}
	t.Starts = maps.Clone(t.Starts)
	t.Starts[partition] = offset
	topics := maps.Clone(s.topics)
	topics[topic] = t
	if err := writeJSON(startsFile(s.dir), topics); err != nil {
		return err
	}
	s.topics = topics
	return nil
}

// prepare makes the files of a broker that does not run agree with the starts: bytes before a start are blanked (a kill
// may have come between the note and the deletion), and a partition without any batch gets one that holds its end.
func (s *starts) prepare() error {
	ids, err := topicIDs(dataDir(s.dir))
	if err != nil {
		return err
	}
	for topic, t := range s.topics {
		if ids[topic] != t.ID {
			delete(s.topics, topic) // deleted since, perhaps made again
			continue
		}
		for p, start := range t.Starts {
			dir := partitionDir(dataDir(s.dir), topic, p)
			if err := blankBefore(dir, start); err != nil {
				return err
			}
			if err := holdEnd(dir, start); err != nil {
				return err
			}
		}
	}
	return nil
}

// repeat deletes again what was deleted before the last end.
func (s *starts) repeat(c *kfake.Cluster) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, t := range s.topics {
		for p, start := range t.Starts {
			info := c.PartitionInfo(topic, p)
			if info == nil || info.LogStartOffset >= start {
				continue
			}
			if err := c.DeleteRecords(topic, p, min(start, info.HighWatermark)); err != nil {
				return fmt.Errorf("kafkad: delete %s-%d before %d again: %w", topic, p, start, err)
			}
		}
	}
	return nil
}

// topicIDs reads kfake's list of topics; none when it has never run.
func topicIDs(dir string) (map[string][16]byte, error) {
	var list struct {
		Topics []struct {
			Name string `json:"name"`
			ID   []byte `json:"id"` // base64, as kfake and encoding/json both have it
		} `json:"topics"`
	}
	if err := readJSON(filepath.Join(dir, "topics.json"), &list); err != nil {
		return nil, err
	}
	ids := make(map[string][16]byte, len(list.Topics))
	for _, t := range list.Topics {
		if len(t.ID) == 16 {
			ids[t.Name] = [16]byte(t.ID)
		}
	}
	return ids, nil
}

// readJSON leaves v as it is when there is no such file.
func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("kafkad: %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces the file, whole or not at all, and on disk when it returns.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	_, werr := f.Write(b)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	return nil
}
