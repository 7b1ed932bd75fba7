package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// expected is what the input alone says must come out: how often each word was seen, how often in each window, and which
// records meet.
type expected struct {
	left, right           int64
	words, windows, pairs map[string]int64
}

// side is a record of the join.
type side struct {
	value string
	at    int64
}

// recompute reads the input twice: the right side whole, then the left, record by record.
func (s *settings) recompute(ctx context.Context, r *reader) (*expected, error) {
	e := &expected{words: map[string]int64{}, windows: map[string]int64{}, pairs: map[string]int64{}}
	rights := map[string][]side{}
	if err := r.read(ctx, s.App+"-right", false, func(rec *kgo.Record) {
		e.right++
		rights[string(rec.Key)] = append(rights[string(rec.Key)], side{string(rec.Value), rec.Timestamp.UnixMilli()})
	}); err != nil {
		return nil, err
	}
	size, within := s.Window.Milliseconds(), s.Within.Milliseconds()
	err := r.read(ctx, s.App+"-left", false, func(rec *kgo.Record) {
		e.left++
		text, at := string(rec.Value), rec.Timestamp.UnixMilli()
		word := strings.Fields(text)[0]
		e.words[word]++
		e.windows[fmt.Sprintf("%s@%d", word, at/size*size)]++
		for _, other := range rights[string(rec.Key)] {
			if apart := at - other.at; -within <= apart && apart <= within {
				e.pairs[text+"+"+other.value]++
			}
		}
	})
	return e, err
}
