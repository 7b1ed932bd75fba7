package demo

import (
	"context"
	"fmt"
	"time"
)

// analyst lets the hour go by, so that its files are closed, and counts in them what the pipeline counted itself.
func (s *story) analyst(ctx context.Context) error {
	s.rep.step(6, "The analyst counts in the Parquet files")
	if _, err := s.in.Clock.Advance(2 * time.Hour); err != nil {
		return err
	}
	s.rep.check("image_events counts as many images by status and format as the API", func() (string, error) {
		want := map[string]int64{}
		for _, p := range s.accepted {
			_, st, err := s.api.status(ctx, p.id)
			if err != nil {
				return "", err
			}
			if st.Status == "archived" {
				want[st.Format]++
			}
		}
		err := await(ctx, 60*time.Second, func() error {
			got, err := archivedByFormat(ctx, s.blobs.container(s.in.Config.Blob.Containers.Analytics), s.idOf)
			if err != nil {
				return err
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("the files say %v, the API %v", got, want)
			}
			return nil
		})
		return fmt.Sprint(want), err
	})
	return ctx.Err()
}

// idOf says whether an image belongs to this telling of the story: a shared cluster may hold earlier ones.
func (s *story) idOf(id string) bool { return s.accepted[id] != nil }
