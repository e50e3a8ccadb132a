import { createClient } from '@supabase/supabase-js';

const supabase = createClient(process.env.NEXT_PUBLIC_SUPABASE_URL!, process.env.NEXT_PUBLIC_SUPABASE_KEY!);

export function useConversationRealtime(conversationId: string) {
  const [messages, setMessages] = useState<any[]>([]);

  useEffect(() => {
    let isMounted = true;

    const channel = supabase.channel(`room:${conversationId}`)
      .on(
        'postgres_changes',
        {
          event: 'INSERT',
          schema: 'public',
          table: 'messages',
          filter: `conversation_id=eq.${conversationId}`
        },
        payload => {
          if (!isMounted) return;
          setMessages(prev => [payload.new, ...prev]);
        }
      )
      .subscribe();

    return () => {
      isMounted = false;
      supabase.removeChannel(channel);
    };
  }, [conversationId]);

  return { messages, setMessages };
}
