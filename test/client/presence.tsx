useEffect(() => {
  const presenceChannel = supabase.channel(`presence:${conversationId}`, {
    config: { presence: { key: userId } }
  });

  presenceChannel
    .on('presence', { event: 'sync' }, () => {
      const state = presenceChannel.presenceState();
      // state = { userId: [{ online_at: ... }], ... }
      setOnlineUsers(Object.keys(state));
    })
    .subscribe(async status => {
      if (status === 'SUBSCRIBED') {
        await presenceChannel.track({ online_at: new Date().toISOString() });
      }
    });

  return () => {
    supabase.removeChannel(presenceChannel);
  };
}, [conversationId, userId]);
